#!/bin/sh
# Declares the streams of a folder that are not there yet: declare.sh FOLDER.
# Needs the nats command; server and user come from its variables (NATS_URL, NATS_CA,
# NATS_NKEY).
set -eu
for file in "$1"/*.json; do
  name=$(basename "$file" .json)
  if nats stream info "$name" >/dev/null 2>&1; then
    echo "$name is there"
  else
    nats stream add "$name" --config "$file" >/dev/null
    echo "$name made"
  fi
done
