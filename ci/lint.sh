#!/bin/sh
# format and lints
set -eu
cd "$(dirname "$0")/.."
exec cargo xtask lint
