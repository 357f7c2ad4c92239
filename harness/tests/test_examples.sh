#!/usr/bin/env bash
# The two examples of the README, "Reading results elsewhere", run as they stand: what they show is what
# results/reference/quick/results.csv holds. Skipped (77) where there is neither a Python with h5py nor gnuplot.
# usage: test_examples.sh ROOT
set -u
root=$(cd "$1" && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp" || exit 1
ln -s "$root/results" results
failed=0 ran=0

fail() {
    echo "FAIL $*"
    failed=1
}
example() { # NAME: the block of the README whose first line is "# NAME: ..."
    awk -v first="^# $1: " '$0 ~ first { inside = 1 } /^```/ { inside = 0 } inside' "$root/README.md" >"$1"
    [ -s "$1" ] || fail "$1: not in README.md"
    [ "$(wc -l <"$1")" -le 10 ] || fail "$1: more than ten lines"
}
# Cells of layer 15 at 8192 tokens; columns by name: $at["NAME"].
cells() { # PROGRAM
    awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next } { gsub(/"[^"]*"/, "quoted") }
        $at["status"] == "ok" && $at["tokens"] == 8192 && $at["layer"] == 15 { '"$1"' }' results/reference/quick/results.csv
}
python_with_h5py() {
    local python
    for python in python3 /usr/bin/python3; do
        "$python" -c 'import h5py' 2>/dev/null && echo "$python" && return
    done
}

example cells.py
example errors.gp
python=$(python_with_h5py)
if [ -n "$python" ]; then
    ran=1
    "$python" cells.py >out.txt 2>err.txt || fail "cells.py: $(tail -n 1 err.txt)"
    cells 'printf "%4d %.3f %.2e %s %s\n", $1, $at["density"], $at["rel_l2"], $at["method"], $at["params"]' >expected.txt
    cells 'if ($at["density"] < 0.3 && (!best || $at["rel_l2"] + 0 < least)) { best = $1; least = $at["rel_l2"] }
        } END { printf "best: cell %d\n", best' >>expected.txt
    sed -e 's/ head [0-8]//; s/^\(best: cell [0-9]*\),.*/\1/' out.txt | diff expected.txt - || fail "cells.py: not what results.csv holds"
    [ "$(wc -l <expected.txt)" -gt 20 ] || fail "results.csv: too few cells to compare"
else
    echo "skipped cells.py: no Python with h5py (Debian: python3-h5py)"
fi
if command -v gnuplot >/dev/null; then
    ran=1
    gnuplot errors.gp 2>err.txt || fail "errors.gp: $(grep -m1 . err.txt)"
    [ ! -s err.txt ] || fail "errors.gp: says $(grep -m1 . err.txt)"
    # Three methods, each with a sample of its marker in the key: markers 0, 1 and 2.
    drawn=$(grep -c "<use xlink:href='#gpPt[012]'" errors.svg)
    [ "$drawn" = $(($(cells 'print' | wc -l) + 3)) ] || fail "errors.gp: $drawn markers for $(cells 'print' | wc -l) cells"
else
    echo "skipped errors.gp: no gnuplot"
fi
[ $ran = 1 ] || exit 77
[ $failed = 0 ] && echo "test_examples: ok"
exit $failed
