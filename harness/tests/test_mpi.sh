#!/usr/bin/env bash
# A sweep by MPI ranks: the same results as of one process, whatever their number; a rank killed at any moment loses
# nothing that was finished; each rank has a device or cores of its own; mistakes are said once.
# usage: test_mpi.sh MPIRUN PROGRAM KILLER FAKE     KILLER: dies in the cells of uniform k=4, layer 1, 160 tokens;
# FAKE: the program on devices made of host memory. STEMBENCH_SEED chooses whom the kills hit, and when.
set -u
: "${ASAN_OPTIONS:=}"
program=$2 killer=$3 fake=$4
# shellcheck source=harness/tests/sweep_kit.sh
. "$(dirname "$0")/sweep_kit.sh"
launch=("$1" --oversubscribe --bind-to none)
export LC_ALL=C OMP_NUM_THREADS=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_btl=self,vader OMPI_MCA_btl_vader_single_copy_mechanism=none OMPI_MCA_orte_abort_print_stack=0
RANDOM=${STEMBENCH_SEED:-1}
tmp=$(mktemp -d)
pid='' mounted=''
trap '[ -z "$pid" ] || kill "$pid" 2>/dev/null; [ -z "$mounted" ] || umount "$mounted"; rm -rf "$tmp"' EXIT
cd "$tmp" || exit 1
export TMPDIR=$tmp
ulimit -c 0
export ASAN_OPTIONS=detect_leaks=0:$ASAN_OPTIONS # Open MPI's own
said_itself() { grep '^stembench: ' err.txt; } # beside what the launcher says
# ranks N COMMAND...: each rank leaves its process id behind.
ranks() {
    local n=$1
    shift
    # The launcher hangs at times when a rank is killed while others start.
    timeout -k 1 20 "${launch[@]}" -n "$n" bash -c 'echo $$ >"rank.$OMPI_COMM_WORLD_RANK"; exec "$@"' rank "$@"
}
make_calm

# ---- the same for any number of ranks ------------------------------------------------------------------
for n in 1 2 3 6; do
    rm -rf .cache
    expect "$n ranks" 0 '' ranks $n "$program" run small.yaml --out of-$n --quiet
    same_as_calm "$n ranks" of-$n
    grep -q "^$n_cells cells (0 computed before" out.txt || fail "$n ranks say: $(tail -3 out.txt)"
done
expect "ranks that find all done" 0 '' ranks 3 "$program" run small.yaml --out of-2 --quiet
grep -q "($n_cells computed before" out.txt || fail "finished cells are computed again: $(tail -3 out.txt)"
same_as_calm "ranks that find all done" of-2
"$program" run small.yaml --out mixed --shard 2/3 --quiet >/dev/null
expect "ranks after a shard" 0 '' ranks 2 "$program" run small.yaml --out mixed --quiet
grep -q '([1-9][0-9]* computed before' out.txt || fail "what a shard finished is computed again: $(tail -3 out.txt)"
same_as_calm "ranks after a shard" mixed
expect "--fresh" 0 '' ranks 3 "$program" run small.yaml --out mixed --quiet --fresh
grep -q '(0 computed before' out.txt || fail "--fresh reuses cells: $(tail -3 out.txt)"
same_as_calm "--fresh" mixed
ranks 3 "$program" run small.yaml --out told >/dev/null 2>err.txt
grep -q "^0/$n_cells cells, left .*: ranks that compute: 2" err.txt && grep -q '^handed out [1-9].* us; 2 ranks [0-9]* % busy$' err.txt || fail "progress: $(tail -2 err.txt)"
# One reference serves all lengths of a layer.
rm -rf .cache
ranks 5 "$program" run small.yaml --out refs --quiet >/dev/null
[ "$(find .cache -name 'reference-*' | wc -l)" = 2 ] || fail "references: $(find .cache -type f)"

# ---- mistakes -------------------------------------------------------------------------------------------------
expect "another config" 2 'of-3: holds a run of another config' ranks 3 "$program" run small.yaml --out of-3 --set block=32
expect "no config" 2 'none.yaml' ranks 3 "$program" run none.yaml --out no
sed 's/small.h5/none.h5/' small.yaml >none-h5.yaml
expect "no capture" 3 'none.h5' ranks 3 "$program" run none-h5.yaml --out no
expect "no device" 4 'cuda|CUDA' env STEMBENCH_FAKE=absent "${launch[@]}" -n 3 "$fake" run small.yaml --out no --backend cuda
[ ! -e no ] || fail "a mistake leaves a directory"
expect "unlike builds" 2 'rank 2 would compute other cells than rank 0' \
    "${launch[@]}" -n 2 "$program" run small.yaml --out no --quiet : -n 1 "$killer" run small.yaml --out no --quiet
if [ "$(id -u)" = 0 ] && mkdir disk && mount -t tmpfs -o size=300k tmpfs disk 2>/dev/null; then
    mounted=$tmp/disk
    expect "a full disk" 5 'No space left on device' ranks 3 "$program" run small.yaml --out disk/run --quiet
    mount -o remount,size=20m disk
    expect "room again" 0 '' ranks 4 "$program" run small.yaml --out disk/run --quiet
    same_as_calm "room again" disk/run
else
    echo "skipped: a full disk: mounting is for root"
fi

# ---- kill -9 any rank at any moment --------------------------------------------------------------------------
usual=$(seconds ranks 3 "$program" run small.yaml --out usual --quiet)
kills=0 tries=0
: >old.txt
while [ $kills -lt 20 ] && [ $tries -lt 100 ]; do
    n=$((RANDOM % 5 + 2)) tries=$((tries + 1))
    rm -f rank.*
    [ $((tries % 4)) != 0 ] || rm -rf .cache
    # The launcher ends the other ranks at once, not only after they had a second to end by themselves.
    OMPI_MCA_odls_base_sigkill_timeout=0 ranks $n "$program" run small.yaml --out storm --quiet --retry >said.txt 2>&1 &
    pid=$!
    moment
    sleep "$pause"
    kill -9 "$(cat rank.$((RANDOM % n)) 2>/dev/null)" 2>/dev/null
    { wait $pid; code=$?; } 2>/dev/null
    pid=
    # shellcheck disable=SC2046
    [ $code != 124 ] || kill -9 $(cat rank.*) 2>/dev/null
    after_moment
    told_by_all storm >now.txt
    [ -z "$(comm -23 old.txt now.txt)" ] || fail "kill $kills: lost or computed again: $(comm -23 old.txt now.txt | head -1 | cut -c1-80)"
    mv now.txt old.txt
    if [ $code = 0 ]; then
        same_as_calm "storm" storm
        rm -rf storm
        : >old.txt
    else
        kills=$((kills + 1))
    fi
done
[ $kills = 20 ] || fail "killed $kills times, not 20"
expect "after the storm" 0 '' ranks 4 "$program" run small.yaml --out storm --quiet --retry
same_as_calm "after the storm" storm

# ---- asked to stop -----------------------------------------------------------------------------------------------
sed 's/latency: false/latency: {min_time: 600, timeout: 600}/' small.yaml >long.yaml
ranks 3 "$program" run long.yaml --out long --quiet >said.txt 2>&1 &
pid=$!
for _ in $(seq 2000); do
    [ ! -s long/parts/rank-1/.started ] || break
    sleep 0.005
done
[ -s long/parts/rank-1/.started ] || fail "the ranks do not begin: $(cat said.txt)"
kill -TERM "$(cat rank.0)" "$(cat rank.1)" "$(cat rank.2)"
wait $pid
code=$?
pid=
[ $code = 130 ] && grep -q '^stembench: .*interrupted; finished cells are in long' said.txt || fail "SIGTERM: exit $code: $(grep stembench said.txt)"
[ "$(find long -name .started -size +0 | wc -l)" = 0 ] || fail "SIGTERM counts as a death"

# ---- a cell that kills its rank ------------------------------------------------------------------------------
sed '/^match/d' small.yaml >deadly.yaml # two cells of 32 kill
for i in 1 2 3 4; do
    ranks 2 "$killer" run deadly.yaml --out died --quiet >said.txt 2>&1 && fail "death $i: exit 0"
done
expect "after four deaths of two cells" 0 '' ranks 3 "$killer" run deadly.yaml --out died --quiet
[ "$(grep -c 'its process died twice while it ran; --retry runs it again' died/results.csv)" = 2 ] ||
    fail "deaths: $(cut -d, -f2 died/results.csv | sort | uniq -c | tr '\n' ' ')"

# Ranks that die together: the cells of all are suspected, and come last, one at a time; none is blamed.
"$program" synth --out slow.h5 --tokens 2048 --heads 16 --kv-heads 1 --dim 64 --layers 1 --needles 2 >/dev/null
sed 's/small.h5/slow.h5/; s/layers: .*/layers: [0]/; s/lengths: .*/lengths: [2048]/; s/k: \[1, 4\]/k: [1, 4, 6, 8, 10, 12]/; /^match/d' small.yaml >slow.yaml
slowly=(--isa x86-64 --set dtype=f32 --quiet)
"$program" run slow.yaml --out slow-calm "${slowly[@]}" >/dev/null
under_way() { # cells that are, or that a rank died of
    cat slow/parts/*/.started 2>/dev/null | wc -w
}
for i in 1 2; do
    before=$(under_way)
    rm -f rank.*
    ranks 4 "$program" run slow.yaml --out slow "${slowly[@]}" >said.txt 2>&1 &
    pid=$!
    for _ in $(seq 4000); do
        [ "$(under_way)" -lt $((before + 2)) ] || break
    done
    kill -9 "$(cat rank.0)" "$(cat rank.1)" "$(cat rank.2)" "$(cat rank.3)" 2>/dev/null
    { wait $pid; } 2>/dev/null
    pid=
done
[ "$(under_way)" -ge 3 ] || fail "ranks that die together leave $(under_way) cells"
expect "after ranks died together twice" 0 '' ranks 4 "$program" run slow.yaml --out slow "${slowly[@]}"
cmp -s slow-calm/results.csv slow/results.csv || fail "innocent cells: $(diff slow-calm/results.csv slow/results.csv | head -2)"

# ---- cores and devices of their own ---------------------------------------------------------------------------
sed 's/latency: false/latency: {warmup: 0, min_samples: 1, min_time: 0, timeout: 0.01}/' small.yaml >timed.yaml
expect "ranks that time" 0 '' ranks 4 "$program" run timed.yaml --out timed --quiet
grep -q '^2 of 4 ranks stay idle: ' err.txt || fail "ranks that time share a machine: $(head -2 err.txt)"
[ "$(wc -l <timed/results.csv)" = $((n_cells + 1)) ] || fail "timed ranks leave $(wc -l <timed/results.csv) lines"
"$fake" run small.yaml --out calm-fake --quiet --backend cuda >/dev/null
export STEMBENCH_FAKE=devices=2
expect "two devices" 0 '' ranks 3 "$fake" run small.yaml --out fake --quiet --backend cuda
cmp -s calm-fake/results.csv fake/results.csv || fail "two devices: other results: $(diff calm-fake/results.csv fake/results.csv | head -3)"
! grep -q idle err.txt || fail "two devices: $(grep idle err.txt)"
expect "more ranks than devices" 0 '' ranks 5 "$fake" run timed.yaml --out fake-timed --quiet --backend cuda
grep -q '^2 of 5 ranks stay idle: ' err.txt || fail "ranks share a device: $(head -2 err.txt)"
expect "a list of devices" 0 '' env CUDA_VISIBLE_DEVICES=1,0 "${launch[@]}" -n 3 "$fake" run small.yaml --out fake-list --quiet --backend cuda
! grep -q idle err.txt || fail "a list of devices: $(grep idle err.txt)"

summary
