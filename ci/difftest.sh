#!/bin/sh
# the gate against readelf, LIEF and the kernel, each on a sample that takes less than a minute
set -eu
cd "$(dirname "$0")/.."
cargo xtask difftest /usr/bin
exec cargo xtask difftest kernel --quick
