#!/usr/bin/env bash
# scripts/experiment.sh without a model: the committed figures of results/reference/model/ come out again from the
# committed tables, the experiments are listed, and mistakes are one line.
# usage: test_experiment.sh ROOT PROGRAM
set -u
root=$(cd "$1" && pwd)
program=$(realpath "$2")
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0

fail() {
    echo "FAIL $*"
    failed=1
}
# A tree of its own, so that nothing is written into ours.
mkdir -p "$tmp/results/reference" && cd "$tmp" || exit 1
ln -s "$root/scripts" "$root/configs" .
cp -r "$root/results/reference/model" results/reference/
find results/reference/model -name '*.svg' -delete
experiment=$tmp/scripts/experiment.sh

# ---- figures --------------------------------------------------------------------------------------------
STEMBENCH=$program "$experiment" --figures >out.txt 2>err.txt || fail "--figures: $(head -n 1 err.txt)"
[ "$(wc -l <out.txt)" = "$(find configs/model/ -name '*.yaml' | wc -l)" ] || fail "--figures: a line for each experiment, not $(cat out.txt)"
version=$(gnuplot --version | sed 's/gnuplot //')
for figure in "$root"/results/reference/model/*/plots/*.svg; do
    made=${figure#"$root/"}
    if [ ! -s "$made" ]; then
        fail "$made: not drawn"
    elif grep -q "GNUPLOT $version" "$figure"; then # another one may write other bytes
        cmp -s "$figure" "$made" || fail "$made: not the committed one"
    fi
done
for shown in $(sed -n 's/^!\[.*(\(.*\))$/\1/p' results/reference/model/README.md); do
    [ -s "results/reference/model/$shown" ] || fail "README.md shows $shown, which is not drawn"
done

# ---- arguments ------------------------------------------------------------------------------------------
"$experiment" --list >out.txt || fail "--list"
for config in configs/model/*.yaml; do
    grep -q "^$(basename "$config" .yaml) .*[.:?]\$" out.txt || fail "--list lacks $config, or what it asks"
done
refused() { # EXPECTED ARGUMENT...
    local expected=$1 code
    shift
    STEMBENCH=$program "$experiment" "$@" >out.txt 2>err.txt
    code=$?
    [ $code = 2 ] && [ "$(wc -l <err.txt)" = 1 ] && grep -qF -- "$expected" err.txt || fail "$*: exit $code, $(cat err.txt)"
}
refused "no experiment '9-none'" 9-none
refused "which experiment?" --backend cpu
refused "backend is 'tpu'" 1-rows --backend tpu
refused "--out has no value" 1-rows --out
refused "unknown argument '--frce'" 1-rows --frce

exit $failed
