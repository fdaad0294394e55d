#!/bin/sh
# publish-gitlab.sh DIR TAG: the files of DIR (see verify-release.sh) into the generic package registry of the project, one
# package for each target. Uses the predefined variables of a job.
set -eu
cd "$(dirname "$0")/.."
folders=$1 tag=$2

# The token is in a file, not in an argument, which other processes can read.
header=$(mktemp)
trap 'rm -f "$header"' EXIT
printf 'JOB-TOKEN: %s\n' "$CI_JOB_TOKEN" > "$header"
for folder in "$folders"/*/; do
  target=$(basename "$folder")
  for file in "$folder"*; do
    curl --fail --silent --show-error --proto =https --header "@$header" --upload-file "$file" \
      "$CI_API_V4_URL/projects/$CI_PROJECT_ID/packages/generic/$target/${tag#v}/$(basename "$file")"
  done
done
