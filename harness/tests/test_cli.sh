#!/usr/bin/env bash
# The program from the outside: exit codes, one clear line for every mistake, no half-written result.
# usage: test_cli.sh PROGRAM
set -u
program=$1
# shellcheck source=harness/tests/sweep_kit.sh
. "$(dirname "$0")/sweep_kit.sh"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp" || exit 1

# A capture small enough for a cell to take milliseconds.
"$program" synth --out small.h5 --tokens 512 --heads 4 --kv-heads 2 --dim 32 --layers 2 >/dev/null || exit 1
cat >good.yaml <<YAML
name: good
data: small.h5
layers: [0, 1]
lengths: [256, 512]
block: 32
methods:
  - dense
  - uniform: {k: [2, 4], sinks: 1, window: 1}
  - stem: {k_start: [2, 4], mu: [1.0, 0.5], sinks: 1, window: 1}
measure: {latency: {warmup: 0, min_samples: 2, min_time: 0, timeout: 0.1}}
YAML
# A config that differs from good.yaml by one sed expression.
variant() {
    sed "$1" good.yaml >bad.yaml
}

# ---- wrong words ------------------------------------------------------------------------------------
expect "no command" 2 'no command' "$program"
expect "unknown command" 2 "did you mean 'check'" "$program" chekc good.yaml
expect "unknown option" 2 "unknown option '--fast'" "$program" run good.yaml --fast
expect "an option of another command" 2 "unknown option 'layer'" "$program" run good.yaml --layer 1
expect "no config" 2 'missing argument' "$program" run
expect "two configs" 2 'unexpected argument' "$program" run good.yaml good.yaml
expect "threads 0" 2 "expected a whole number from 1" "$program" run good.yaml --threads 0
expect "threads x" 2 "'x'" "$program" run good.yaml --threads x
expect "version" 0 'stembench [0-9]' "$program" --version
expect "help" 0 'usage: stembench COMMAND' "$program" --help
expect "help of run" 0 '--fresh' "$program" run --help
expect "methods" 0 'arXiv:2603.06274' "$program" methods
expect "methods stem" 0 'k_start' "$program" methods stem
expect "unknown method" 2 "no method 'strem'" "$program" methods strem

# ---- wrong configs: file:line:col, what, expected what --------------------------------------------------
config() { # NAME PATTERN SED
    variant "$3"
    expect "$1" 2 "$2" "$program" check bad.yaml
    expect "$1 (run)" 2 "$2" "$program" run bad.yaml --out never
}
config "unknown key" "bad.yaml:4:1: unknown key .lenghts.*did you mean .lengths" 's/^lengths/lenghts/'
config "duplicate key" "bad.yaml:4:1: .*data.* twice" 's/^lengths.*/data: small.h5/'
config "wrong type" "bad.yaml:4:.*expected" 's/^lengths.*/lengths: long/'
config "mu -1" "bad.yaml:9:.*mu is -1; expected a number in \(0, 4\]" 's/mu: .1.0, 0.5./mu: -1/'
config "mu 40" "bad.yaml:9:.*mu is 40; expected a number in \(0, 4\]" 's/mu: .1.0, 0.5./mu: 40/'
config "negative k" "bad.yaml:8:.*k is -2; expected" 's/k: .2, 4./k: -2/'
config "k of half a block" "bad.yaml:8:.*k is 2.5; expected" 's/k: .2, 4./k: 2.5/'
config "unknown parameter" "bad.yaml:8:.*did you mean .window" 's/, window: 1}$/, windw: 1}/'
config "unknown method in a config" "bad.yaml:8:.*unform" 's/uniform/unform/'
config "a stride that does not divide" "stride is 7" 's/k: .2, 4./k: 2, stride: 7/'
config "length beyond the capture" "bad.yaml:4:.*1024 is beyond small.h5; expected at most its 512" 's/^lengths.*/lengths: [1024]/'
config "a layer that is not there" "bad.yaml:3:.*layer 7" 's/^layers.*/layers: [7]/'
config "not YAML" "bad.yaml:" 's/^methods:/methods: [/'
expect "missing config" 2 'nowhere.yaml' "$program" run nowhere.yaml
if ! "$program" check good.yaml --backend cuda >/dev/null 2>&1; then
    expect "backend cuda" 4 'backend cuda: .*(no CUDA|compute capability)' "$program" run good.yaml --backend cuda --out never
    expect "backend in the config" 4 'backend cuda: ' "$program" run good.yaml --set backend=cuda --out never
fi
expect "an unknown backend" 2 "backend is 'gpu'; expected cpu, cuda or auto" "$program" run good.yaml --backend gpu --out never
expect "an unknown ISA" 4 "STEMBENCH_ISA_MAX is .sse9" env STEMBENCH_ISA_MAX=sse9 "$program" run good.yaml --out never
expect "an unknown --isa" 2 "isa is .sse9.; expected amx, avx512, avx2 or x86-64" "$program" run good.yaml --isa sse9 --out never
expect "an unknown --isa of mask" 2 "isa is .sse9." "$program" mask small.h5 --layer 0 --method stem --isa sse9 --out m.h5
if [ "$(uname -m)" = x86_64 ]; then
    expect "the base level" 0 'portable-x86-64 kernel' "$program" check good.yaml --isa x86-64
    expect "--isa wins over the environment" 0 'portable-x86-64 kernel' \
        env STEMBENCH_ISA_MAX=amx "$program" check good.yaml --isa x86-64
    for level in avx2:avx2 avx512:avx512f amx:amx_bf16; do
        grep -qw "${level#*:}" /proc/cpuinfo ||
            expect "a level that is not there" 4 "isa ${level%:*}: this machine has not got it" \
                "$program" run good.yaml --isa "${level%:*}" --out never
    done
else
    expect "a level of another machine" 4 "isa amx: this build has not got it" "$program" run good.yaml --isa amx --out never
fi
expect "a set that is wrong" 2 'set stem.mu=9' "$program" run good.yaml --set stem.mu=9 --out never

# ---- wrong data ----------------------------------------------------------------------------------------
data() { # NAME PATTERN FILE
    variant "s/small.h5/$3/"
    expect "$1" 3 "$2" "$program" run bad.yaml --out never
}
data "missing capture" "nothing.h5" nothing.h5
echo "this is not HDF5" >text.h5
data "a text file named .h5" "text.h5.*" text.h5
head -c 20000 small.h5 >cut.h5
data "a truncated file" "cut.h5" cut.h5
if [ -e never ]; then
    fail "wrong input left a run directory"
else
    pass
fi

# ---- places that cannot be written ------------------------------------------------------------------------
touch file
expect "--out is a file" 5 'file' "$program" run good.yaml --out file --quiet
expect "--out below a file" 5 'file/x' "$program" run good.yaml --out file/x --quiet
mkdir other && touch other/mine
expect "--out is somebody's folder" 2 'other' "$program" run good.yaml --out other --quiet
[ -e other/mine ] || fail "a stranger's file is gone"
(ulimit -f 8; expect "no room on the disk" 5 'full|File too large|No space' "$program" run good.yaml --out full --quiet
 echo "$passed $failed" >counts)
read -r passed failed <counts
expect "the rest after there is room again" 0 '28 cells' "$program" run good.yaml --out full --quiet
expect "a full standard output" 5 'standard output' sh -c "'$program' methods >/dev/full"

# ---- a run, again, continued, refused ------------------------------------------------------------------------
expect "check" 0 '28 cells = 4 shapes x 7 settings' "$program" check good.yaml
# Four shapes whose cells are timed together, for 700 s each.
ranks() { "$program" check good.yaml --set "measure.latency={min_time: 100, timeout: 100}" --ranks "$1"; }
expect "check for one rank" 0 '^  ranks     1: 47 min, 100 % busy$' ranks 1
expect "check for two, one of which computes" 0 '^  ranks     2: 47 min, 100 % busy$' ranks 2
expect "check for three" 0 '^  ranks     3: 24 min, 100 % busy$' ranks 3
expect "check for more than are busy" 0 '^  ranks     9: 12 min, 50 % busy$' ranks 9
expect "check for no ranks" 2 "^stembench: --ranks is '0'; expected a whole number from 1 to" ranks 0
expect "run" 0 '28 cells' "$program" run good.yaml --out done --quiet
rows=$(wc -l <done/results.csv)
[ "$rows" = 29 ] || fail "results.csv has $rows lines"
expect "run again computes nothing" 0 '\(([0-9]+) computed before' "$program" run good.yaml --out done --quiet
variant 's/k: .2, 4./k: [2, 5]/'
expect "another config in the same place" 2 'done.*another config' "$program" run bad.yaml --out done --quiet
expect "unless fresh" 0 'computed before, 0 failed' "$program" run bad.yaml --out done --fresh --quiet
expect "a single thread" 0 'cells' "$program" run good.yaml --out one --threads 1 --set measure.latency=false --quiet
expect "two threads" 0 'cells' "$program" run good.yaml --out two --threads 2 --set measure.latency=false --quiet
# Columns before select_ms say nothing of time; threads (column 14) differs on purpose.
if diff <(cut -d, -f1-13,15-35 one/results.csv) <(cut -d, -f1-13,15-35 two/results.csv) >diff.txt; then
    pass
else
    fail "one and two threads differ"; head -4 diff.txt
fi

# ---- patterns of tokens -----------------------------------------------------------------------------------
cat >tokens.yaml <<YAML
name: tokens
data: small.h5
layers: [0]
dtype: f32
methods:
  - vecattention: {threshold: 0.5, form: [tokens, blocks]}
measure: {latency: {warmup: 0, min_samples: 2, min_time: 0, timeout: 0.1}}
YAML
expect "a method in tokens and in blocks" 0 '2 cells .* 0 failed, 0 unsupported' "$program" run tokens.yaml --out tokens --quiet
# As published are both; in tokens that is what runs, in blocks more does.
awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
    { kernel[NR] = $at["kernel"]; pairs[NR] = $at["pair_density"]; published[NR] = $at["published_pair_density"]; error[NR] = $at["impl_rel_l2"] }
    END { exit !(kernel[2] ~ /-tokens$/ && kernel[3] !~ /tokens/ && published[2] > 0 && published[2] == pairs[2] &&
                 published[3] == published[2] && pairs[3] > pairs[2] && error[2] > 0 && error[2] < 1e-6) }' tokens/results.csv ||
    fail "what a pattern of tokens records"

# ---- mask ------------------------------------------------------------------------------------------------
expect "mask" 0 'density' "$program" mask small.h5 --layer 0 --method stem --set k_start=4 --set block=32 --out m.h5
expect "mask of tokens" 0 'tokens of [0-9]+ of 144 causal blocks' "$program" mask small.h5 --layer 0 --method vecattention --out m.h5
expect "mask without a layer" 2 'missing --layer' "$program" mask small.h5 --method stem --out m.h5
expect "mask of dense" 2 'selects no pattern' "$program" mask small.h5 --layer 0 --method dense --out m.h5
expect "mask with a wrong value" 2 'mu is 7' "$program" mask small.h5 --layer 0 --method stem --set mu=7 --out m.h5
expect "inspect" 0 'digest' "$program" inspect small.h5
expect "a layer in raw form" 0 'raw.q, .k, .v: layer 1, 100 tokens, 4 query and 2 kv heads' "$program" inspect small.h5 --layer 1 --tokens 100 --dtype f32 --out raw
sizes=$(stat -c %s raw.q raw.k raw.v | tr '\n' ' ')
[ "$sizes" = "$((4 * 100 * 32 * 4)) $((2 * 100 * 32 * 4)) $((2 * 100 * 32 * 4)) " ] ||
    fail "raw tensors have $sizes bytes"
"$program" synth --out plain.h5 --tokens 512 --heads 4 --kv-heads 2 --dim 32 --layers 2 --compress 0 >/dev/null
expect "a capture that is not compressed" 0 'layer 1, 100 tokens' "$program" inspect plain.h5 --layer 1 --tokens 100 --dtype f32 --out plain
if cmp raw.q plain.q && cmp raw.k plain.k && cmp raw.v plain.v && [ "$(stat -c %s plain.h5)" -gt "$(stat -c %s small.h5)" ]; then
    pass
else
    fail "an uncompressed capture holds something else"
fi
expect "a compression level that is none" 2 '10' "$program" synth --out x.h5 --compress 10
expect "raw form without a layer" 2 'missing --layer' "$program" inspect small.h5 --out raw
expect "plot of nothing" 3 'never' "$program" plot never
expect "plot in a wrong format" 2 'gif' "$program" plot done --format gif

# ---- compare -----------------------------------------------------------------------------------------------
cat >gate.yaml <<YAML
gates:
  - hash: equal
  - {metric: rel_l2, where: {method: stem, layer: 1}, max_increase: 0}
YAML
expect "compare equal runs" 0 'PASSED: none of 28 cells is worse' "$program" compare one two
expect "compare with a gate" 0 'PASSED: 2 gates on 28 cells' "$program" compare one two --gate gate.yaml
expect "other cells" 0 '14 same; left out by --where: 14 of the baseline' "$program" compare one two --where tokens=512
"$program" run good.yaml --out mu --quiet --set measure.latency=false --set 'stem.mu=[1.0, 0.9]' >/dev/null
expect "a changed parameter" 1 'REGRESSED: 8 resolved differently of 28 cells' "$program" compare one mu
expect "a changed parameter under a gate" 1 'FAILED: 2 of 2 gates' "$program" compare one mu --gate gate.yaml
"$program" run good.yaml --out part --quiet --set measure.latency=false --set 'lengths=[256]' >/dev/null
expect "missing cells" 1 '14 missing of 28 cells' "$program" compare one part --format markdown
expect "extra cells" 0 '14 same, 14 extra' "$program" compare part one
expect "JUnit" 0 '<testsuites name="stembench compare" tests="30" failures="0"' "$program" compare one two --format junit --gate gate.yaml
expect "help of compare" 0 '--gate GATE.yaml' "$program" compare --help
expect "one run" 2 'missing argument' "$program" compare one
expect "a wrong form of report" 2 "'html'; expected text, markdown or junit" "$program" compare one two --format html
expect "a wrong --where" 2 "where layr=1: unknown column 'layr'; did you mean 'layer'" "$program" compare one two --where layr=1
expect "a --where without a value" 2 'where layer: no column; expected COLUMN=GLOB' "$program" compare one two --where layer
expect "a --where of nothing" 3 'one: no cell that --where names' "$program" compare one two --where layer=9
expect "no gate file" 2 'nowhere.yaml' "$program" compare one two --gate nowhere.yaml
sed -i 's/max_increase: 0/max_increse: 0/' gate.yaml
expect "a wrong gate file" 2 "gate.yaml:3:55: unknown key 'max_increse'; did you mean 'max_increase'" "$program" compare one two --gate gate.yaml
expect "no baseline" 3 'never' "$program" compare never two
expect "no candidate" 3 'never' "$program" compare one never
expect "not a run" 3 'other' "$program" compare one other
mkdir damaged && head -c 3000 one/results.h5 >damaged/results.h5
expect "a damaged run" 3 'damaged/results.h5' "$program" compare damaged two
expect "a full standard output" 5 'standard output' sh -c "'$program' compare one two >/dev/full"

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
