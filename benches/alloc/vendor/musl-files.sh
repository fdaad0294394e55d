#!/bin/sh
# Writes the list of digests for the verification of musl's source tree.
#
#   sh musl-files.sh UNPACKED-MUSL mallocng > mallocng/files.sha256
set -eu
export LC_ALL=C
allocator=${2:?usage: musl-files.sh UNPACKED-MUSL mallocng|oldmalloc}
cd "${1:?usage: musl-files.sh UNPACKED-MUSL mallocng|oldmalloc}"
find COPYRIGHT arch/x86_64 arch/generic include src/include src/internal src/malloc/replaced.c "src/malloc/$allocator" \
  -type f \( -name '*.h' -o -path 'src/malloc/*.c' -o -name COPYRIGHT \) | sort | xargs sha256sum
