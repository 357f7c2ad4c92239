#!/usr/bin/env bash
# One ISA level really executed: its kernels against the oracle, every method on top of them, the masks
# of the authors' code, and runs of the program whose records name a kernel of that level, keep the blocks
# that the base level keeps, and are the same for any number of threads.
# usage: test_isa.sh LEVEL TESTS_DIR PROGRAM     exits 77 where the machine has not got the level
set -eu
level=$1 tests=$2 program=$3
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"

"$program" synth --out tiny.h5 --tokens 320 --heads 4 --kv-heads 2 --dim 32 --layers 1 >/dev/null
cat >tiny.yaml <<'YAML'
name: tiny
data: tiny.h5
lengths: [129, 320]
dtype: [f32, bf16, f16]
block: [32, 64]
methods:
  - dense
  - uniform: {k: [2, 4], sinks: 1, window: 1}
  - stem: {k_start: [2, 4], sinks: 1, window: 1}
  - streaming: {sink: 16, window: 48}
  - minference: {form: blocks, vertical: 30, slash: 100}
  - flexprefill: {gamma: 0.5, min_budget: 32}
  - xattention: {threshold: 0.5}
  - sparge: {variant: top, block_q: 64, block_k: 64, keep: 0.3}
  - flashprefill: {alpha: 0.9, sink: 16, window: 32, last_full: 1}
  - cosa: {top_p: 0.5}
  - vecattention: {threshold: 0.9, form: blocks}
  - oracle: {k: 2}
  - random: {k: 2}
measure: {latency: {warmup: 0, min_samples: 1, min_time: 0, timeout: 0.01}}
YAML
code=0
"$program" run tiny.yaml --out asked --isa "$level" --quiet >/dev/null 2>error.txt || code=$?
if [ $code = 4 ]; then
    echo "skipped: this machine has no $level"
    exit 77
fi
[ $code = 0 ] || { cat error.txt; exit 1; }
"$program" run tiny.yaml --out base --isa x86-64 --quiet >/dev/null

# The values of one column; no field before it holds a comma.
column() { # FILE NAME
    awk -F, -v name="$2" 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == name) at = i } NR > 1 { print $at }' "$1"
}
# AMX has bfloat16 alone; all else falls to the level below.
case $level in
    amx) expected='bf16 amx' ;;
    *) expected="bf16 portable-$level f16 portable-$level f32 portable-$level" ;;
esac
got=$(paste -d' ' <(column asked/results.csv dtype) <(column asked/results.csv kernel) | sort -u)
[ "$level" != amx ] || got=$(grep '^bf16' <<<"$got")
[ "$(tr '\n' ' ' <<<"$got")" = "$expected " ] || { echo "kernels are '$got', expected '$expected'"; exit 1; }
[ "$(column asked/results.csv status | sort -u)" = ok ] || { echo "cells failed"; exit 1; }
column asked/results.csv mask_hash >asked.txt
column base/results.csv mask_hash >base.txt
[ "$(sort -u base.txt | wc -l)" -gt 24 ] || { echo "hardly a pattern in $(wc -l <base.txt) cells"; exit 1; }
cmp asked.txt base.txt || { echo "the patterns are not those of x86-64"; exit 1; }

# Neither threads nor repetition change a bit of what is selected or how good it is. Column 14 is `threads`, the
# clock's begin at 36.
for n in 1 2; do
    "$program" run tiny.yaml --out "threads-$n" --isa "$level" --threads $n --set measure.latency=false --quiet >/dev/null
done
for other in threads-2 asked; do
    cmp <(cut -d, -f1-13,15-35 threads-1/results.csv) <(cut -d, -f1-13,15-35 $other/results.csv) ||
        { echo "another run ($other) gives other results"; exit 1; }
done

"$tests/test_attend" "$level"
[ "$level" = amx ] || "$tests/test_attend_tokens" "$level"
for program in conformance field properties; do
    STEMBENCH_ISA_MAX=$level "$tests/test_$program"
done
