#!/bin/sh
# the image of dist/ in the running engine
set -eu
cd "$(dirname "$0")/.."
exec cargo xtask docker
