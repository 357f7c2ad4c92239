#!/usr/bin/env bash
# A run that is killed, interrupted, out of room or not alone: what is finished stays as it is, the same
# command continues, and in the end the results are those of a run that nothing disturbed.
# usage: test_crash.sh PROGRAM     STEMBENCH_SEED chooses the moments of the kills
set -u
program=$1
# shellcheck source=harness/tests/sweep_kit.sh
. "$(dirname "$0")/sweep_kit.sh"
export LC_ALL=C OMP_NUM_THREADS=1
RANDOM=${STEMBENCH_SEED:-1}
tmp=$(mktemp -d)
pid=
mounted=
cleanup() {
    [ -z "$pid" ] || kill -9 "$pid" 2>/dev/null
    [ -z "$mounted" ] || umount "$mounted"
    rm -rf "$tmp"
}
trap cleanup EXIT
cd "$tmp" || exit 1
skip() { echo "skipped: $*"; }

make_capture
# 84 cells: results.h5 is also written while the run goes on.
cat >off.yaml <<'YAML'
name: off
data: small.h5
layers: [0, 1]
lengths: [96, 160]
block: 16
methods:
  - dense
  - uniform: {k: {range: [1, 8, 1]}, sinks: [0, 1], window: 1}
  - stem: {k_start: [2, 4], mu: [1.0, 0.5], sinks: 1, window: 1}
measure: {latency: false}
YAML
# Cells that are timed together, and finish together.
sed 's/layers: .*/layers: [0]/; s/latency: false/latency: {warmup: 0, min_samples: 1, min_time: 0, timeout: 0.01}/' off.yaml >on.yaml
# A run that lasts until it is stopped.
sed 's/latency: false/latency: {min_time: 600, timeout: 600}/' off.yaml >long.yaml

# ---- what a run directory holds ----------------------------------------------------------------------

# The finished lines of results.csv, sorted; a last one without its end is not finished.
told() { # DIR
    [ ! -e "$1/results.csv" ] || while IFS= read -r line; do printf '%s\n' "$line"; done <"$1/results.csv" | sed 1d | sort
}

# same_as_calm NAME DIR: a finished run, with nothing of ours left in between.
same_as_calm() {
    if ! cmp -s <(untimed calm) <(untimed "$2"); then
        fail "$1: not the results of an undisturbed run"; diff <(untimed calm) <(untimed "$2") | head -4
    elif [ -n "$(find "$2" -name '*.tmp*')$(find "$2/.cells" -type f)" ]; then
        fail "$1: left behind: $(find "$2" -name '*.tmp*' -o -path '*/.cells/*' | head -3)"
    else
        pass
    fi
}

# check_killed NAME DIR OLD: after a kill every line told before is there as it was, once, and results.h5 is whole.
check_killed() {
    told "$2" >now.txt
    [ -z "$(comm -23 "$3" now.txt)" ] || fail "$1: lost or computed again: $(comm -23 "$3" now.txt | head -1 | cut -c1-80)"
    [ -z "$(cut -d, -f1 now.txt | uniq -d)" ] || fail "$1: twice: cell $(cut -d, -f1 now.txt | uniq -d | head -1)"
    [ -e "$2/results.h5" ] || return 0
    ! command -v h5dump >/dev/null || h5dump -H "$2/results.h5" >/dev/null 2>&1 || fail "$1: h5dump cannot read results.h5"
    "$program" compare "$2" "$2" >/dev/null 2>err.txt || fail "$1: $(cat err.txt)"
}

# ---- kill -9 at any moment ---------------------------------------------------------------------------

# finished NAME OLD: the run that was killed before has ended by itself. A kill comes between a cell's file and its
# line at most once, so the run found as many cells as there were lines, or one more.
finished() {
    local lines reused
    lines=$(wc -l <"$2")
    reused=$(sed -n 's/.*(\([0-9]*\) computed before.*/\1/p' said.txt)
    if [ -z "$reused" ] || [ "$reused" -lt "$lines" ] || [ "$reused" -gt $((lines + 1)) ]; then
        fail "$1: $lines cells were told, ${reused:-none} found again: $(tail -n 2 said.txt | head -n 1)"
    fi
    same_as_calm "$1" "$1"
    rm -rf "$1"
    : >"$2"
}

# storm NAME KILLS: NAME.yaml is run, killed and continued until it has been killed so many times; with --retry, as the
# same cell may well be hit twice.
storm() {
    local name=$1 kills=$2 n=0 tries=0 usual begin pause code
    rm -rf calm .cache
    begin=$EPOCHREALTIME
    "$program" run "$name.yaml" --out calm --quiet >/dev/null || { fail "$name: an undisturbed run fails"; return; }
    usual=$(awk "BEGIN { print $EPOCHREALTIME - $begin }")
    : >old.txt
    while [ $n -lt "$kills" ] && [ $tries -lt $((kills * 10)) ]; do
        tries=$((tries + 1))
        [ $((tries % 4)) != 0 ] || rm -rf .cache # so that references are being written too
        moment
        "$program" run "$name.yaml" --out "$name" --quiet --retry >said.txt 2>&1 &
        pid=$!
        sleep "$pause"
        kill -9 $pid 2>/dev/null
        { wait $pid; code=$?; } 2>/dev/null
        pid=
        after_moment
        case $code in
            137) n=$((n + 1)); check_killed "$name, kill $n" "$name" old.txt; mv now.txt old.txt ;;
            0) finished "$name" old.txt ;;
            *) fail "$name: exit $code: $(cat said.txt)"; return ;;
        esac
    done
    [ $n = "$kills" ] || fail "$name: killed $n times, not $kills"
    "$program" run "$name.yaml" --out "$name" --quiet --retry >said.txt 2>&1 || fail "$name: $(cat said.txt)"
    finished "$name" old.txt
}
storm on 25
storm off 25 # and `calm` stays for what follows

# ---- signals -----------------------------------------------------------------------------------------

# begin CONFIG DIR LINES: start a run and wait until its results.csv has so many lines.
begin() {
    "$program" run "$1" --out "$2" --quiet >said.txt 2>&1 &
    pid=$!
    for _ in $(seq 2000); do
        [ ! -e "$2/results.csv" ] || [ "$(wc -l <"$2/results.csv")" -lt "$3" ] || return 0
        sleep 0.005
    done
    fail "$2: a run does not begin: $(cat said.txt)"
}
for signal in INT TERM; do
    begin off.yaml "part-$signal" 5
    kill -$signal $pid
    wait $pid
    code=$?
    pid=
    [ $code = 130 ] || fail "SIG$signal within cells: exit $code: $(head -2 said.txt)"
    expect "continued after SIG$signal" 0 '' "$program" run off.yaml --out "part-$signal" --quiet
    same_as_calm "after SIG$signal" "part-$signal"
    begin long.yaml "on-$signal" 1
    kill -$signal $pid
    wait $pid
    code=$?
    pid=
    if [ $code = 130 ] && [ "$(wc -l <said.txt)" = 1 ] && grep -q "interrupted; finished cells are in on-$signal, the same command continues" said.txt; then
        pass
    else
        fail "SIG$signal: exit $code, expected 130 and one line: $(cat said.txt)"
    fi
done

# ---- one process at a time ---------------------------------------------------------------------------
begin long.yaml shared 1
expect "a second process" 5 'shared: in use by another process' timeout 30 "$program" run long.yaml --out shared --quiet
expect "a second process, fresh" 5 'shared: in use by another process' timeout 30 "$program" run off.yaml --out shared --quiet --fresh
kill -9 $pid
{ wait $pid; } 2>/dev/null
pid=
expect "the lock of a dead process" 0 '' "$program" run off.yaml --out shared --quiet --fresh
same_as_calm "after a dead process" shared

# ---- no room -----------------------------------------------------------------------------------------
for limit in 1 3 6 12 24 48; do
    (ulimit -f $limit && exec "$program" run off.yaml --out "limit-$limit" --quiet) >/dev/null 2>err.txt
    code=$?
    { [ $code = 5 ] && [ "$(wc -l <err.txt)" = 1 ] && grep -q 'File too large' err.txt; } ||
        fail "files of at most $limit KiB: exit $code: $(head -2 err.txt)"
    told "limit-$limit" >old.txt
    expect "room again after $limit KiB" 0 '' "$program" run off.yaml --out "limit-$limit" --quiet
    [ -z "$(comm -23 old.txt <(told "limit-$limit"))" ] || fail "after $limit KiB: a finished cell is lost"
    same_as_calm "after $limit KiB" "limit-$limit"
done
expect "a full standard output" 5 'standard output' sh -c "'$program' run off.yaml --out limit-1 --quiet >/dev/full"

mkdir disk
if [ "$(id -u)" = 0 ] && mount -t tmpfs -o size=400k tmpfs disk 2>/dev/null; then
    mounted=$tmp/disk
    expect "a full disk" 5 'No space left on device' "$program" run off.yaml --out disk/run --quiet
    told disk/run >old.txt
    [ -s old.txt ] || fail "a full disk: no cell before it was full"
    mount -o remount,size=8m disk
    expect "a disk with room again" 0 '' "$program" run off.yaml --out disk/run --quiet
    [ -z "$(comm -23 old.txt <(told disk/run))" ] || fail "a full disk: a finished cell is lost"
    same_as_calm "after a full disk" disk/run
    mount -o remount,ro disk
    expect "a read-only disk" 5 'disk/run.*(Read-only|read-only)' "$program" run off.yaml --out disk/run --quiet
    expect "a new run on it" 5 'disk/new.*Read-only' "$program" run off.yaml --out disk/new --quiet
    umount disk && mounted=
else
    skip "a full and a read-only disk: needs root and mount"
fi
if [ "$(id -u)" != 0 ]; then
    chmod 555 limit-1 disk
    expect "a read-only run directory" 5 'limit-1.*Permission denied' "$program" run off.yaml --out limit-1 --quiet
    expect "a new run in a read-only directory" 5 'disk/new.*Permission denied' "$program" run off.yaml --out disk/new --quiet
    chmod 755 limit-1 disk
    cmp -s <(untimed calm) <(untimed limit-1) || fail "a read-only directory changed"
else
    skip "directories without permission: root may write there"
fi

summary
