#!/bin/sh
# Writes the list of digests for the verification of snmalloc's source tree.
#
#   sh snmalloc-files.sh UNPACKED-CRATE > snmalloc/files.sha256
set -eu
export LC_ALL=C
cd "${1:?usage: snmalloc-files.sh UNPACKED-CRATE}"
find upstream/src/snmalloc -type f \( -name '*.h' -o -name '*.cc' -o -name LICENSE \) | sort | xargs sha256sum
