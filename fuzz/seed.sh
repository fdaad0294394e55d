#!/bin/sh
# Seeds the corpus of each target from the fixtures of the project. What the fuzzer finds on its own is kept beside them
# in fuzz/corpus, which is not committed.
set -eu
cd "$(dirname "$0")/.."

seed() { # TARGET FILE...
    folder=fuzz/corpus/$1
    shift
    mkdir -p "$folder"
    for file in "$@"; do cp "$file" "$folder/seed-$(basename "$file")"; done
}

elf=$(find fixtures/elf -type f ! -name '*.sh' ! -name '*.c' ! -name '*.S')
packed=$(find fixtures/elf -type f -name 'packed-*')
# shellcheck disable=SC2086  # one word a file: no fixture has a blank in its name
{
    seed facts $elf
    seed upx $packed
    seed config release.toml
}
mkdir -p fuzz/corpus/edits
# Nothing changed, then one edit in each of the places that matter most.
printf '\000' > fuzz/corpus/edits/seed-none
printf '\000\340\000\200' > fuzz/corpus/edits/seed-stack-size
printf '\001\104\000\002' > fuzz/corpus/edits/seed-flags
printf '\002\022\000\211' > fuzz/corpus/edits/seed-machine
printf '\003\104\000\002' > fuzz/corpus/edits/seed-stripped
