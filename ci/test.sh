#!/bin/sh
# every test; its closing line is the summary
set -eu
cd "$(dirname "$0")/.."
exec cargo xtask test "$@"
