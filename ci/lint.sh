#!/bin/sh
# all static checks; without arguments, what cannot be fetched from GitHub (advisory database, actionlint) is reported as not
# measured
set -eu
cd "$(dirname "$0")/.."
exec cargo xtask lint "$@"
