#!/usr/bin/env bash
# From a clean clone to a table and plots of a real model's attention: installs what is missing, builds,
# runs configs/quick.yaml on the shipped capture, draws its plots and writes its report. Safe to run again.
set -eu
cd "$(dirname "$0")/.."
./scripts/setup.sh build stembench
./build/stembench run configs/quick.yaml --out results/quick "$@"
./build/stembench plot results/quick
./build/stembench report results/quick
