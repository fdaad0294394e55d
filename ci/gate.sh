#!/bin/sh
# gate.sh [DIR]: the gate on the files of DIR (dist/), by the policy beside them; reports for hosted CI in target/ci
set -eu
cd "$(dirname "$0")/.."
mkdir -p target/ci
exec cargo xtask verify-elf --report sarif=target/ci/gate.sarif --report junit=target/ci/gate.xml "${1:-dist}"
