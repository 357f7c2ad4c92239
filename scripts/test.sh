#!/usr/bin/env bash
# Build everything, tests included, and run them all. Installs what is missing. Safe to run again.
set -eu
cd "$(dirname "$0")/.."
./scripts/setup.sh build
ctest --test-dir build --output-on-failure --no-tests=error "$@"
