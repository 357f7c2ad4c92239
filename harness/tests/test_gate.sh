#!/usr/bin/env bash
# The committed gate in use: configs/quick.yaml passes against results/reference/quick, and a part of it, run by
# programs with one planted error each, does not.
# usage: test_gate.sh SOURCE_DIR PROGRAM PLANTED_DIR
set -u
source_dir=$1 program=$2 planted=$3
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp" || exit 1
mkdir data
ln -s "$source_dir/data/smollm2-135m.h5" data/smollm2-135m.h5
passed=0 failed=0
part=(--set 'lengths=[2048]' --set 'layers=[2]')
part_cells=(--where 'tokens=2048' --where 'layer=2')
base=()
[ "$(uname -m)" != x86_64 ] || base=(--isa x86-64)

# try CELLS NAME CODE PATTERN PROGRAM [OPTION]...: the exit code of comparing a run of PROGRAM, with and without the gate.
try() {
    local cells=() name=$2 code=$3 pattern=$4 what=$5 judge got
    if [ "$1" = part ]; then
        cells=("${part_cells[@]}")
        set -- "$@" "${part[@]}"
    fi
    shift 5
    if ! "$what" run "$source_dir/configs/quick.yaml" --set measure.latency=false --backend cpu --out "$name" --quiet \
        "$@" >run.txt 2>&1; then
        echo "FAIL $name: does not run"; tail -2 run.txt; failed=$((failed + 1))
        return
    fi
    for judge in "--gate $source_dir/configs/gates/quick.yaml" ""; do
        # shellcheck disable=SC2086
        "$program" compare "$source_dir/results/reference/quick" "$name" "${cells[@]}" $judge >out.txt 2>err.txt
        got=$?
        if [ $got != "$code" ] || ! grep -q "$pattern" out.txt; then
            echo "FAIL $name ${judge:+with the gate}: exit $got, expected $code and '$pattern'"
            head -12 out.txt err.txt; failed=$((failed + 1))
        else
            echo "$name ${judge:+with the gate}: $(head -1 out.txt)"; passed=$((passed + 1))
        fi
    done
}

try whole same 0 'patterns: *128 equal, 0 differ' "$program"
try part base-isa 0 'patterns: *32 equal, 0 differ' "$program" "${base[@]}"
try part mu 1 'pattern differs' "$planted/planted_mu"
try part beta 1 'pattern differs' "$planted/planted_beta"
try part block 1 'pattern differs' "$planted/planted_block"
try part sign 1 'pattern differs' "$planted/planted_sign"
try part kernel 1 'patterns: *32 equal, 0 differ' "$planted/planted_kernel" "${base[@]}"
try part other-mu 1 'parameters: mu=0.7 -> mu=0.69' "$program" --set 'stem.mu=[1.0, 0.69, 0.4]'
try part other-beta 1 'parameters: ' "$program" --set 'stem.beta=0.21'
try part other-window 1 'parameters: window=2 -> window=1' "$program" --set 'stem.window=1'

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
