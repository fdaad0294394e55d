#!/bin/sh
# what the proofs need and a hosted runner with Ubuntu 24.04 lacks; changes the machine, so no other script calls it
set -eu
# `isolated` and `no-proc` make user namespaces, which AppArmor denies to programs without a profile since 24.04.
sudo sysctl --write kernel.apparmor_restrict_unprivileged_userns=0
# Ubuntu's archive lacks the static qemu-user 10 that the pipeline fetches from Debian; 7.2 or later is enough.
sudo apt-get update --quiet=2
sudo apt-get install --quiet=2 --yes --no-install-recommends qemu-user-static
