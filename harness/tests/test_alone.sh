#!/usr/bin/env bash
# Shards of a timed sweep on one machine compute in turn, on one device too; on two devices, or untimed, at once. That
# they do is seen in the notes of what each has under way, .started, which they make for another purpose.
# usage: test_alone.sh PROGRAM FAKE    (FAKE: the program linked with fake_device.c)
set -u
program=$1
fake=$2
# shellcheck source=harness/tests/sweep_kit.sh
. "$(dirname "$0")/sweep_kit.sh"
export LC_ALL=C OMP_NUM_THREADS=1
unset CUDA_VISIBLE_DEVICES
tmp=$(mktemp -d)
pids=()
trap '[ ${#pids[@]} = 0 ] || kill -9 "${pids[@]}" 2>/dev/null; rm -rf "$tmp"' EXIT
cd "$tmp" || exit 1
check() { # NAME COMMAND...
    if "${@:2}" >check.txt 2>&1; then pass; else fail "$1: $(head -3 check.txt)"; fi
}

"$program" synth --out small.h5 --tokens 512 --heads 2 --kv-heads 1 --dim 16 --layers 2 --needles 2 >/dev/null || exit 1
cat >timed.yaml <<'YAML'
name: timed
data: small.h5
layers: [0, 1]
lengths: [192, 256, 320, 384, 448, 512]
block: 32
methods:
  - dense
  - uniform: {k: [1, 2], sinks: 1, window: 1}
measure: {fidelity: false, latency: {warmup: 0, min_samples: 4, min_time: 0.03, noise: 1e-9, timeout: 0.03}}
YAML
n_cells=36
sed 's/latency: .*/latency: false}/; s/512\]/512, 508, 504, 500, 496, 492, 488, 484]/; s/k: \[1, 2\]/k: [1, 2, 3, 4, 5, 6, 7, 8]/' timed.yaml >untimed.yaml

# both_busy A B: whether two shards have cells under way at once. A's note is read before and after B's: if it is the
# same, it stood there in between, as no two bundles have the same cells.
both_busy() {
    local a b again
    { a=$(<"$1/.started"); b=$(<"$2/.started"); again=$(<"$1/.started"); } 2>/dev/null
    [ -n "$a" ] && [ -n "$b" ] && [ "$a" = "$again" ]
}
# watch NAME DIR: until all of $pids have ended well, count in $met how often two of its shards were busy at once, and
# in $seen how often one was.
watch() {
    local parts i j
    met=0 seen=0
    while kill -0 "${pids[@]}" 2>/dev/null; do
        parts=("$2"/parts/*)
        for ((i = 0; i < ${#parts[@]}; i++)); do
            [ ! -s "${parts[i]}/.started" ] || seen=$((seen + 1))
            for ((j = i + 1; j < ${#parts[@]}; j++)); do
                ! both_busy "${parts[i]}" "${parts[j]}" || met=$((met + 1))
            done
        done
    done
    for i in "${pids[@]}"; do
        wait "$i" || fail "$1: exit $?: $(cat said-*.txt)"
    done
    pids=()
}
rows() { # DIR: rows that are ok and have times
    awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next } $at["status"] == "ok" && $at["total_ms"] > 0 { n++ }
        END { print n + 0 }' "$1/results.csv"
}
start() { # DIR I/N CONFIG [OPTION]...
    "$program" run "$3" --out "$1" --shard "$2" "${@:4}" >"said-${2%/*}.txt" 2>&1 &
    pids+=($!)
}

# ---- on the CPU ------------------------------------------------------------------------------------------
for i in 1 2 3; do
    start turns $i/3 timed.yaml
done
watch "three timed shards" turns
[ $met = 0 ] && [ $seen -gt 20 ] && pass || fail "three timed shards: seen busy $seen times, two at once $met times"
check "who waits says so, once" awk '/waiting for another process on this machine$/ { n[FILENAME]++ }
    END { for (f in n) { some++; if (n[f] > 1) exit 1 } exit !some }' said-*.txt
check "locks are there" test -d turns/.alone
check "merging three timed shards" "$program" merge turns
check "each cell has its times" test "$(rows turns)" = $n_cells
check "no lock is left" test ! -e turns/.alone
check "a plain run needs none" "$program" run timed.yaml --out plain --quiet
check "and leaves none" test ! -e plain/.alone
check "the clock is recorded" \
    grep -aqE '^cpu_mhz: "([0-9]+|unknown) now(, [0-9]+ to [0-9]+)?; governor [a-z]+"$' plain/results.h5
check "who times on the CPU is pinned" grep -aq '^pinned: true$' plain/results.h5

for _ in 1 2 3 4 5; do
    rm -rf once
    for i in 1 2; do
        start once $i/2 untimed.yaml --quiet
    done
    watch "two untimed shards" once
    [ $met = 0 ] || break
done
[ $met -gt 0 ] && pass || fail "two untimed shards are never busy at once"
check "untimed shards need no locks" test ! -e once/.alone
check "nor are they pinned to the same first cores" grep -aq '^pinned: false$' once/parts/shard-1-of-2/results.h5

# ---- asked to stop, or killed ----------------------------------------------------------------------------
sed 's/min_time: 0.03/min_time: 600/; s/timeout: 0.03/timeout: 600/' timed.yaml >long.yaml
until_busy() { # DIR
    for _ in $(seq 2000); do
        [ ! -s "$1/.started" ] || return 0
        sleep 0.005
    done
    fail "$1 does not begin: $(cat said-*.txt)"
}
until_waiting() { # FILE
    for _ in $(seq 2000); do
        ! grep -q waiting "$1" || return 0
        sleep 0.005
    done
    fail "$1 does not wait: $(cat "$1")"
}
start long 1/2 long.yaml
until_busy long/parts/shard-1-of-2
start long 2/2 long.yaml
until_waiting said-2.txt
check "who waits has nothing under way" test ! -s long/parts/shard-2-of-2/.started
begin=$EPOCHREALTIME
kill -TERM "${pids[1]}"
for _ in $(seq 1000); do
    kill -0 "${pids[1]}" 2>/dev/null || break
    sleep 0.01
done
kill -9 "${pids[1]}" 2>/dev/null
wait "${pids[1]}"
code=$?
seconds=$(awk "BEGIN { print $EPOCHREALTIME - $begin }")
[ $code = 130 ] && grep -q 'interrupted; finished cells are in long' said-2.txt && awk "BEGIN { exit !($seconds < 5) }" && pass ||
    fail "SIGTERM while waiting: exit $code after $seconds s: $(tail -1 said-2.txt)"
pids=("${pids[0]}")
start long 2/2 long.yaml
until_waiting said-2.txt
kill -9 "${pids[0]}"
{ wait "${pids[0]}"; } 2>/dev/null
until_busy long/parts/shard-2-of-2
pass
kill -TERM "${pids[1]}"
wait "${pids[1]}"
[ $? = 130 ] && pass || fail "SIGTERM after a death: $(cat said-2.txt)"
pids=()

# ---- on devices --------------------------------------------------------------------------------------------
# two_on DIR FIRST SECOND: two shards, on these of two devices
two_on() {
    local i=0 device
    for device in "$2" "$3"; do
        i=$((i + 1))
        CUDA_VISIBLE_DEVICES=$device STEMBENCH_FAKE=devices=2 "$fake" run timed.yaml --set dtype=bf16 --backend cuda --out "$1" \
            --shard $i/2 --quiet >said-$i.txt 2>&1 &
        pids+=($!)
    done
    watch "two shards on devices $2 and $3" "$1"
}
two_on apart 0 1
[ $met -gt 0 ] && pass || fail "two devices are never busy at once (seen $seen times)"
check "merging shards of two devices" "$fake" merge apart
check "each cell of two devices has its times" test "$(rows apart)" = $n_cells
check "no lock of a device is left" test ! -e apart/.alone
two_on shared 1 1
[ $met = 0 ] && [ $seen -gt 20 ] && pass || fail "one device: seen busy $seen times, by two at once $met times"

summary
