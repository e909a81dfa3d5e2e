#!/bin/sh
# The image runs this once, on an empty volume, after it has made $POSTGRES_DB for the ledger.
set -eu
createdb --username "$POSTGRES_USER" "$DAGSTER_POSTGRES_DB"
