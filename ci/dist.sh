#!/bin/sh
# the whole pipeline, into dist/
set -eu
cd "$(dirname "$0")/.."
exec cargo xtask dist "$@"
