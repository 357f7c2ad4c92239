#!/usr/bin/env bash
# scripts/paper.sh and what it runs: every config is valid, published values have a figure and a source, one figure is
# made from beginning to end, mistakes are one line, and each figure runs what it should.
# usage: test_paper.sh ROOT PROGRAM
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
mkdir "$tmp/data" && cd "$tmp" || exit 1
ln -s "$root/scripts" "$root/configs" .
ln -s "$root/data/smollm2-135m.h5" data/
paper=$tmp/scripts/paper.sh

# ---- configs ------------------------------------------------------------------------------------------
"$program" synth --out long.h5 --tokens 32768 --heads 1 --kv-heads 1 --dim 8 --layers 1 --needles 0 >/dev/null || fail "synth"
for config in configs/paper/*.yaml; do
    name=$(basename "$config" .yaml)
    set --
    [ "$name" != 1-latency-long ] || set -- --set data=long.h5
    "$program" check "$config" "$@" >out.txt 2>err.txt || fail "$config: $(head -n 1 err.txt)"
    grep -q "^name: $name\$" "$config" || fail "$config: its name is not $name"
    grep -q "^# .*two AMX cores" "$config" || fail "$config: does not say how long it takes"
done
for n in 1 2 3 4 5 6 7 8; do
    ls configs/paper/$n-*.yaml >/dev/null 2>&1 || fail "no config of figure $n"
done

# ---- published values -----------------------------------------------------------------------------------
sed 's/"[^"]*"/quoted/' "$root/configs/paper/published.csv" | awk -F, -v root="$root" '
    function is_number(x) { return x ~ /^[0-9]*\.?[0-9]+$/ }
    function wrong(what) { print "published.csv:" NR ": " what; bad = 1 }
    NR == 1 { if ($0 != "config,figure,kind,x,y,label,source") wrong("header is " $0); next }
    NF != 7 { wrong(NF " fields"); next }
    $1 != "1-latency-cuda" && system("test -e " root "/configs/paper/" $1 ".yaml") { wrong("no config " $1) }
    { figure = $2; sub("/.*", "", figure) } # FIGURE/PANEL
    system("test -e " root "/scripts/plots/" figure ".gp") { wrong("no figure " figure) }
    $3 !~ /^(point|vline|hline|inset|inset-axis|note)$/ { wrong("kind is " $3) }
    $3 ~ /^(point|vline|inset)$/ && !is_number($4) { wrong("x is " $4) }
    $3 ~ /^(point|hline|inset)$/ && !is_number($5) { wrong("y is " $5) }
    $6 == "" || $7 == "" { wrong("no label or no source") }
    END { exit bad || NR < 2 }' || fail "published.csv"

# ---- one figure, small, from beginning to end ------------------------------------------------------------
small=(-- --set 'lengths=[2048]' --set measure.fidelity.rows=16 --threads 2)
for round in first second; do
    STEMBENCH=$program "$paper" 4 --out "$tmp/made" "${small[@]}" >"$round.txt" 2>err.txt || fail "paper.sh 4: $(head -n 1 err.txt)"
    [ "$(wc -l <"$round.txt")" = 1 ] || fail "paper.sh 4 ($round): $(wc -l <"$round.txt") lines, expected 1"
done
n=$(("$(wc -l <made/4-sweeps/results.csv)" - 1))
grep -qE "^4-sweeps: $n cells \(0 computed before, 0 failed, 0 unsupported\), [1-9][0-9]* plots in $tmp/made/4-sweeps/plots, [0-9]+ s\$" first.txt ||
    fail "paper.sh 4 says: $(cat first.txt)"
grep -q "$n computed before" second.txt || fail "the second call computes again: $(cat second.txt)"
[ -s made/4-sweeps/plots/sweep.svg ] || fail "no plots/sweep.svg"
[ "$(head -n 1 made/4-sweeps/published.csv)" = figure,kind,x,y,label,source ] || fail "published.csv of the run: wrong header"
[ "$(grep -c , made/4-sweeps/published.csv)" = $(($(grep -c '^4-sweeps,' "$root/configs/paper/published.csv") + 1)) ] ||
    fail "published.csv of the run: not the rows of 4-sweeps"

# ---- mistakes ---------------------------------------------------------------------------------------------
mistake() { # PATTERN ARGUMENT...
    local pattern=$1 code
    shift
    STEMBENCH=$program "$paper" "$@" >out.txt 2>err.txt
    code=$?
    [ $code = 2 ] || fail "paper.sh $*: exit $code, expected 2"
    [ "$(cat out.txt err.txt | wc -l)" = 1 ] || fail "paper.sh $*: $(cat out.txt err.txt | wc -l) lines, expected 1"
    grep -qE -- "$pattern" err.txt || fail "paper.sh $*: $(head -n 1 err.txt)"
}
mistake "unknown argument '9'; expected figures from 1 to 8" 9
mistake "unknown argument '3-ablation'" 3-ablation
mistake "unknown argument '--bakend'" 3 --bakend cpu
mistake "backend is 'gpu'; expected cpu, cuda or auto" --backend gpu
mistake "format is 'gif'; expected svg, png or pdf" 3 --format gif
mistake "--out has no value" 3 --out
mistake "stembench: .*layers" 3 --out "$tmp/never" -- --set 'layers=[7]'
[ ! -e never/3-ablation/results.csv ] || fail "a wrong option left results"

# ---- what each figure runs: a program that only notes how it was called -------------------------------------
mkdir bin
cat >bin/stembench <<'SH'
#!/bin/sh
echo "$*" >>"$CALLS"
case $1 in
    run) echo "1 cells (0 computed before, 0 failed, 0 unsupported): results.csv" ;;
    plot) echo "wrote a.svg" ;;
esac
while [ $# -gt 1 ]; do [ "$1" != --out ] || mkdir -p "$2"; shift; done
SH
printf '#!/bin/sh\nexit 1\n' >bin/python3
chmod +x bin/*
calls() { # ARGUMENT...: what the program was asked, run directories being under made
    : >calls.txt
    PATH=$tmp/bin:$PATH CALLS=$tmp/calls.txt STEMBENCH=$tmp/bin/stembench "$paper" --out made "$@" >out.txt 2>err.txt ||
        fail "paper.sh $*: $(head -n 1 err.txt)"
}
asked() { # PATTERN
    grep -qE -- "$1" calls.txt || { fail "nothing asked matches '$1':"; cat calls.txt; }
}
calls
[ "$(grep -c '^run ' calls.txt)" = 9 ] || fail "paper.sh runs $(grep -c '^run ' calls.txt) configs, expected 9"
asked '^synth --out data/.cache/bench-d64.h5 --tokens 32768 '
asked '^run configs/paper/1-latency-long.yaml --out made/1-latency-long --backend cpu '
asked '^run configs/paper/8-decay-shapes.yaml --out made/8-decay-shapes '
# No Python to capture with: the shipped layers, and a word about it.
asked '^run configs/paper/5-layers.yaml --out made/5-layers-shipped --backend cpu --quiet *$'
grep -q '^5-layers: the two shipped layers.*Python' out.txt || fail "5 says: $(grep '^5' out.txt)"
: >data/.cache/smollm2-135m-all.h5
calls 5 3 --backend auto --format pdf
asked '^run configs/paper/5-layers.yaml --out made/5-layers --backend auto .*data=data/.cache/smollm2-135m-all.h5'
asked '^plot made/3-ablation --format pdf$'
calls 1 --backend cuda -- --threads 3
asked '^synth --out data/.cache/bench-gpu-d128.h5 --tokens 131072 '
asked '^run configs/bench-h100.yaml --out made/1-latency-cuda --backend cuda .*bench-gpu-d128.h5 --threads 3$'

[ $failed = 0 ] && echo "test_paper: ok"
exit $failed
