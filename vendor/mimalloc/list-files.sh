#!/bin/sh
# Writes the list of digests (files.sha256) that a source tree is verified against.
#
#   sh list-files.sh UNPACKED-CRATE > files.sha256
#
# Headers and sources of version 3 for Linux; no other system's. Run it when the version moves, and read the difference.
set -eu
export LC_ALL=C
cd "${1:?usage: list-files.sh UNPACKED-CRATE}"
find c_src/mimalloc/v3/include c_src/mimalloc/v3/src c_src/mimalloc/v3/LICENSE -type f \
  \( -name '*.h' -o -name '*.c' -o -name LICENSE \) \
  ! -path '*/prim/windows/*' ! -path '*/prim/osx/*' ! -path '*/prim/wasi/*' ! -path '*/prim/emscripten/*' |
  sort | xargs sha256sum
