#!/bin/sh
# Writes the list of digests (files.sha256) for the verification of a source tree.
#
#   sh list-files.sh UNPACKED-CRATE > files.sha256
#
# Headers and sources of version 3 for Linux. Run it for a new version, and read the difference.
set -eu
export LC_ALL=C
cd "${1:?usage: list-files.sh UNPACKED-CRATE}"
find c_src/mimalloc/v3/include c_src/mimalloc/v3/src c_src/mimalloc/v3/LICENSE -type f \
  \( -name '*.h' -o -name '*.c' -o -name LICENSE \) \
  ! -path '*/prim/windows/*' ! -path '*/prim/osx/*' ! -path '*/prim/wasi/*' ! -path '*/prim/emscripten/*' |
  sort | xargs sha256sum
