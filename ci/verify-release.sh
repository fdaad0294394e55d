#!/bin/sh
# verify-release.sh DIR TAG COMMIT: each folder of DIR is the dist/ of one target. Its files have the digests of SHA256SUMS,
# which lists all of them, and its manifest names the tag and the commit. Compiles nothing: it runs beside the signing identity.
set -eu
cd "$(dirname "$0")/.."
folders=$1 tag=$2 commit=$3

fail() {
  printf 'verify-release: %s\n' "$1" >&2
  exit 1
}

for folder in "$folders"/*/; do
  [ -f "$folder/SHA256SUMS" ] || fail "$folder has no SHA256SUMS"
  (cd "$folder" && sha256sum --check --strict --quiet SHA256SUMS) || fail "$folder: a file is missing or differs"
  for file in "$folder"*; do
    name=$(basename "$file")
    [ "$name" = SHA256SUMS ] || grep -qxF -- "$(sha256sum < "$file" | cut -d ' ' -f 1)  $name" "$folder/SHA256SUMS" ||
      fail "$file is not in SHA256SUMS"
  done
  python3 - "$folder/dist-manifest.json" "$tag" "$commit" <<'PYTHON' || exit 1
import json, sys
path, tag, commit = sys.argv[1:]
with open(path, encoding="utf-8") as file:
    manifest = json.load(file)
expected = {"tag": tag, "commit": commit, "uncommitted changes": False}
found = {
    "tag": "v" + manifest["version"],
    "commit": manifest["commit"]["id"],
    "uncommitted changes": manifest["commit"]["dirty"],
}
for key in expected:
    if found[key] != expected[key]:
        sys.exit(f"verify-release: {path}: {key}: expected {expected[key]}, found {found[key]}")
PYTHON
  echo "$folder: every file has its digest, tag $tag, commit $commit"
done
