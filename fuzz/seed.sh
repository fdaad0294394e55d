#!/bin/sh
# Seeds the corpus of each target from the fixtures. The fuzzer adds its own inputs to fuzz/corpus, which is not committed.
set -eu
cd "$(dirname "$0")/.."

# Fails when an archiver is missing; the corpus would be incomplete without notice.
for tool in ar tar gzip xz; do
    command -v "$tool" > /dev/null || { echo "seed.sh: \`$tool\` is missing; hint: apt-get install binutils tar gzip xz-utils" >&2; exit 2; }
done

seed() { # TARGET FILE...
    folder=fuzz/corpus/$1
    shift
    mkdir -p "$folder"
    for file in "$@"; do cp "$file" "$folder/seed-$(basename "$file")"; done
}

elf=$(find fixtures/elf -type f ! -name '*.sh' ! -name '*.c' ! -name '*.S' ! -name '*.sha256')
packed=$(find fixtures/elf -type f \( -name 'packed-*' -o -name 'upx-*' \))
# shellcheck disable=SC2086  # word splitting is intended: no fixture has a space in its name
{
    seed facts $elf
    seed upx $packed
    seed config release.toml
}
# The first byte selects the stage of `policy`, 7 for the detected one, and whole files for `disasm`.
for target in policy disasm; do
    mkdir -p "fuzz/corpus/$target"
    # shellcheck disable=SC2086
    for file in $elf; do
        { printf '\007'; cat "$file"; } > "fuzz/corpus/$target/seed-$(basename "$file")"
    done
done
# The code of both machines, without headers.
tail -c +4097 fixtures/elf/linked | { printf '\000'; head -c 16384; } > fuzz/corpus/disasm/seed-code-x86_64
{ printf '\001'; cat fixtures/elf/upx/upx-4.2.2-nrv2b-exec-aarch64; } > fuzz/corpus/disasm/seed-code-aarch64
mkdir -p fuzz/corpus/images
{
    printf '%s\n' '{"config": {"Env": ["PATH=/bin:/usr/bin", "SSL_CERT_FILE=/etc/ca.crt"], "Entrypoint": ["tool"], "WorkingDir": "/"}}'
    printf '%s\n' 'l bin usr/bin' 'e usr/bin/tool' 'l usr/bin/alias ../../bin/tool' 'd etc/ssl/certs' 'f etc/ca.crt' ''
    printf '%s\n' 'f etc/ssl/.wh.certs' 'f data/.wh..wh..opq' 'f etc/nsswitch.conf' 'l loop /loop' 'f usr/share/zoneinfo/UTC'
} > fuzz/corpus/images/seed-image
printf '%s\n' '{"config": {"Cmd": ["./run"], "WorkingDir": "/srv"}}' 'e srv/run' '' 'f srv/run' '' 'e srv/run/deep' > fuzz/corpus/images/seed-replaced
mkdir -p fuzz/corpus/edits
# No edit, then one edit of each important field.
printf '\000' > fuzz/corpus/edits/seed-none
printf '\000\340\000\200' > fuzz/corpus/edits/seed-stack-size
printf '\001\104\000\002' > fuzz/corpus/edits/seed-flags
printf '\002\022\000\211' > fuzz/corpus/edits/seed-machine
printf '\003\104\000\002' > fuzz/corpus/edits/seed-stripped

# Containers: the first byte of an input selects the compression that the target applies to the rest.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
folder=$PWD/fuzz/corpus/containers
mkdir -p "$folder"
container() { # NAME FILE
    { printf '\000'; cat "$2"; } > "$folder/seed-$1"
}
cp fixtures/elf/object.o fixtures/elf/stripped "$work"
(
    cd "$work"
    mkdir -p blobs/sha256
    printf 'text' > notes
    ar rcs lib.a object.o notes
    ar rcsT thin.a object.o
    ar rcs nested.a lib.a
    tar -b 1 -cf plain.tar stripped notes
    tar -b 1 --format=pax --pax-option=comment=long -cf pax.tar stripped
    tar -b 1 -cf layer.tar object.o
    : > .wh.object.o
    tar -b 1 -cf upper.tar .wh.object.o
    cp layer.tar blobs/sha256/aa
    cp upper.tar blobs/sha256/bb
    printf '{"layers": [{"digest": "sha256:aa"}, {"digest": "sha256:bb"}]}' > blobs/sha256/cc
    printf '{"manifests": [{"digest": "sha256:cc"}]}' > index.json
    printf '[{"Layers": ["blobs/sha256/aa", "blobs/sha256/bb"]}]' > manifest.json
    tar -b 1 --format=ustar -cf image.tar index.json manifest.json blobs
    gzip -nk plain.tar
    xz -k plain.tar
    if command -v zstd > /dev/null; then zstd -q plain.tar; fi
)
for name in lib.a thin.a nested.a plain.tar pax.tar image.tar plain.tar.gz plain.tar.xz plain.tar.zst; do
    if [ -e "$work/$name" ]; then container "$name" "$work/$name"; fi
done
{ printf '\007'; cat "$work/image.tar"; } > "$folder/seed-image.tar.gz"

# Models: the first byte selects the file; the header of the weights has neither its length nor the floats.
folder=$PWD/fuzz/corpus/model
mkdir -p "$folder"
number=0
for name in config.json modules.json sentence_bert_config.json 1_Pooling/config.json tokenizer.json; do
    { printf '%b' "\\00$number"; cat "fixtures/models/tiny-bert/$name"; } > "$folder/seed-$number"
    number=$((number + 1))
done
header=$(od -An -tu8 -N8 fixtures/models/tiny-bert/model.safetensors | tr -d ' ')
{ printf '\005'; tail -c +9 fixtures/models/tiny-bert/model.safetensors | head -c "$header"; } > "$folder/seed-weights"
