#!/bin/sh
# what an image of Debian with Rust lacks: Python for the pinned wheels and linters. For a container, as root.
set -eu
apt-get update --quiet=2
apt-get install --quiet=2 --yes --no-install-recommends python3-pip python3-venv
