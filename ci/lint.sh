#!/bin/sh
# all static checks; the advisory database is fetched where the network allows it, else reported as not measured
set -eu
cd "$(dirname "$0")/.."
exec cargo xtask lint
