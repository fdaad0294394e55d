#!/bin/sh
# publish-github.sh DIR BUNDLES TAG: a draft of a release of that tag with the files of DIR (see verify-release.sh) and the
# attestation in BUNDLES. A maintainer publishes the draft.
set -eu
cd "$(dirname "$0")/.."
folders=$1 bundles=$2 tag=$3

# Assets of a release share one folder. SHA256SUMS, manifest and policy have the same name for each target, so they get the
# target as prefix; `sha256sum --ignore-missing --check` compares the other files.
assets=target/assets # on the file system of the files, which are linked
mkdir "$assets"
for folder in "$folders"/*/; do
  target=$(basename "$folder")
  target=${target#release-}
  for file in "$folder"*; do
    name=$(basename "$file")
    case $name in
      *"$target"*) ;;
      *) name=$target.$name ;;
    esac
    ln "$file" "$assets/$name" # refuses a name that exists
  done
done
set -- "$bundles"/*
[ "$#" = 1 ] || { echo "publish-github: expected one attestation in $bundles, found $#" >&2; exit 1; }
ln "$1" "$assets/provenance.sigstore.json"
gh release create "$tag" --draft --verify-tag --title "$tag" --notes "CHANGELOG.md describes this release." "$assets"/*
