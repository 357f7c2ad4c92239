#!/usr/bin/env bash
# A sweep shared among processes: the same results as of one, in the same order, whatever their number and the order in
# which they end; kills at any moment lose nothing, of shards or of the merge; a cell that kills its process ends as a row.
# usage: test_shard.sh PROGRAM KILLER SLURM_SWEEP     KILLER: a program that dies in the cells of uniform k=4, layer 1,
# 160 tokens. STEMBENCH_SEED chooses the moments of the kills.
set -u
program=$1 killer=$2 sweep=$3
# shellcheck source=harness/tests/sweep_kit.sh
. "$(dirname "$0")/sweep_kit.sh"
export LC_ALL=C OMP_NUM_THREADS=1
RANDOM=${STEMBENCH_SEED:-1}
tmp=$(mktemp -d)
pid=
trap '[ -z "$pid" ] || kill -9 "$pid" 2>/dev/null; rm -rf "$tmp"' EXIT
cd "$tmp" || exit 1
ulimit -c 0
shard() { # DIR I/N [OPTION]...
    "$program" run small.yaml --out "$1" --shard "$2" --quiet "${@:3}"
}

make_calm

# same_as_calm NAME DIR: the merged results are those of one process, and nothing else is left.
same_as_calm() {
    if ! cmp -s calm/results.csv "$2/results.csv"; then
        fail "$1: not the results of one process"; diff calm/results.csv "$2/results.csv" | head -4
    elif [ -n "$(find "$2" -mindepth 1 ! -name results.h5 ! -name results.csv ! -name config.yaml ! -name .lock ! -name .cells \
        ! -name .nodes ! -name .started)$(find "$2/.cells" -type f)" ]; then
        fail "$1: left behind: $(find "$2" -mindepth 1 | tr '\n' ' ')"
    elif ! cmp -s calm/config.yaml "$2/config.yaml" || ! "$program" compare calm "$2" >/dev/null 2>&1; then
        fail "$1: another config or results.h5"
    else
        pass
    fi
}

# ---- the same for any number of shards -------------------------------------------------------------------
for n in 1 2 3 7; do
    mapfile -t order < <(seq "$n" | sort -R --random-source=<(yes "$n"))
    for i in "${order[@]}"; do
        shard "of-$n" "$i/$n" >/dev/null 2>err.txt || fail "shard $i/$n: $(cat err.txt)"
    done
    [ "$(find "of-$n/parts" -name results.h5 | wc -l)" = "$n" ] || fail "$n shards: not as many parts"
    expect "merging $n shards" 0 '' "$program" merge "of-$n"
    same_as_calm "$n shards" "of-$n"
    expect "merging $n shards again" 0 '' "$program" merge "of-$n"
    same_as_calm "$n shards, merged twice" "of-$n"
done
expect "a plain run of what is merged" 0 '' "$program" run small.yaml --out of-3 --quiet
grep -q "($n_cells computed before" out.txt || fail "a plain run computes merged cells again: $(tail -3 out.txt)"
same_as_calm "a plain run of what is merged" of-3
[ ! -x "$(command -v h5dump)" ] || [ "$(h5dump -n of-7/results.h5 | grep -c '/records/................$')" = "$n_cells" ] ||
    fail "results.h5 does not hold $n_cells records"

# All at once into a new directory, with every reference to be computed.
for round in 1 2 3; do
    rm -rf .cache
    pids=()
    for i in 1 2 3 4 5; do
        shard "once-$round" $i/5 >"said-$i.txt" 2>&1 &
        pids+=($!)
    done
    for i in 1 2 3 4 5; do
        wait "${pids[i - 1]}" || fail "five at once: shard $i: $(cat "said-$i.txt")"
    done
    expect "merging five at once" 0 '' "$program" merge "once-$round"
    same_as_calm "five at once" "once-$round"
done

# Timed cells, but for what the clock says.
sed 's/latency: false/latency: {warmup: 0, min_samples: 1, min_time: 0, timeout: 0.01}/' small.yaml >timed.yaml
"$program" run timed.yaml --out timed-calm --quiet >/dev/null
for i in 3 2 1; do
    expect "shard $i/3 of timed cells" 0 '' "$program" run timed.yaml --out timed --shard $i/3 --quiet
done
expect "merging timed cells" 0 '' "$program" merge timed
cmp -s <(untimed timed-calm) <(untimed timed) || fail "timed cells: $(diff <(untimed timed-calm) <(untimed timed) | head -3)"

# ---- what any part has finished is finished ------------------------------------------------------------------
shard parts 1/2 >/dev/null && shard parts 2/2 >/dev/null
expect "another number of shards" 0 '' shard parts 1/1
grep -q "($n_cells computed before" out.txt || fail "another number of shards computes cells again: $(head -1 out.txt)"
expect "a plain run beside parts" 0 '' "$program" run small.yaml --out parts --quiet
grep -q "($n_cells computed before" out.txt && grep -q '^3 parts hold more of them: stembench merge parts$' out.txt ||
    fail "a plain run beside parts: $(tail -4 out.txt)"
expect "merging after a plain run" 0 '' "$program" merge parts
same_as_calm "merging after a plain run" parts
rm -rf parts

# ---- what is missing, and what does not agree --------------------------------------------------------------
shard part 2/3 >/dev/null && shard part 3/3 >/dev/null
expect "a missing shard" 1 "part: [0-9]+ of $n_cells cells are missing: 0, 1, 2, 3, 4, 5, 6, 7, \.\.\.; run the shards" \
    "$program" merge part
expect "a missing shard, again" 1 'cells are missing' "$program" merge part
cp -r part forced
expect "a missing shard, forced" 0 '' "$program" merge forced --force
[ ! -e forced/parts ] || fail "a forced merge keeps parts"
expect "the rest of a forced merge, as another shard" 0 '' shard forced 1/1
expect "the rest of a forced merge" 0 '' "$program" merge forced
same_as_calm "the rest of a forced merge" forced
expect "the missing shard" 0 '' shard part 1/3
sed -i 's/^build: ./build: x/' part/parts/shard-2-of-3/part.yaml
expect "another build" 3 'part/parts/shard-2-of-3: made by another build than part shard-1-of-3' "$program" merge part
cp part/parts/shard-1-of-3/part.yaml part/parts/shard-2-of-3/
sed -i 's/^data: ./data: x/' part/parts/shard-3-of-3/part.yaml
expect "other data" 3 'part/parts/shard-3-of-3: of other data than part shard-1-of-3' "$program" merge part
cp part/parts/shard-1-of-3/part.yaml part/parts/shard-3-of-3/
echo '# more' >>part/parts/shard-1-of-3/config.yaml
expect "another config" 3 'part/parts/shard-1-of-3: of another config than part/config.yaml' "$program" merge part
cp small.yaml part/parts/shard-1-of-3/config.yaml
expect "parts that agree again" 0 '' "$program" merge part
same_as_calm "parts that agree again" part
expect "a shard of another config" 2 'part: holds a run of another config' shard part 1/2 --set block=32
[ ! -e part/parts ] || fail "a shard of another config leaves a part"
expect "no run to merge" 2 'nowhere: neither a run nor parts of one' "$program" merge nowhere
[ ! -e nowhere ] || fail "merging makes a directory"
for bad in 0/3 4/3 x/3 3 1/0 1/3/5; do
    expect "--shard $bad" 2 "'$bad'; expected i/n" shard bad $bad
done
expect "srun without MPI" 4 'one of 3 (tasks|processes)' env SLURM_STEP_NUM_TASKS=3 "$program" run small.yaml --out no
[ ! -e no ] || fail "srun without MPI leaves a directory"
expect "shards by srun" 0 '' env SLURM_STEP_NUM_TASKS=3 "$program" run small.yaml --out part --shard 1/3 --quiet
expect "--fresh with --shard" 2 '--fresh would remove what other shards compute' shard part 1/2 --fresh
"$program" check small.yaml --shards 7 | grep -qE '^  shards +7 of them: [0-9]+ s for the longest, [0-9]+ % busy' ||
    fail "check --shards: $("$program" check small.yaml --shards 7 | tail -1)"

# ---- kill -9 at any moment -----------------------------------------------------------------------------------
after() { # SECONDS COMMAND...: kill it after so long; its exit code is left in $code.
    local pause=$1
    shift
    "$@" >said.txt 2>&1 &
    pid=$!
    sleep "$pause"
    kill -9 $pid 2>/dev/null
    { wait $pid; code=$?; } 2>/dev/null
    pid=
    [ $code = 137 ] || [ $code = 0 ] || fail "killed or done: exit $code: $(cat said.txt)"
}
kill_within() { # COMMAND...: kill it at some moment
    moment
    after "$pause" "$@"
    after_moment
    [ $code = 0 ] || kills=$((kills + 1))
    tries=$((tries + 1))
}
usual=$(seconds shard usual 1/2)
kills=0 tries=0
: >old.txt
while [ $kills -lt 20 ] && [ $tries -lt 200 ]; do
    n=$((RANDOM % 4 + 1))
    # With --retry, as the same cell may well be hit twice.
    kill_within "$program" run small.yaml --out storm --shard $((RANDOM % n + 1))/$n --quiet --retry
    told_by_all storm >now.txt
    [ -z "$(comm -23 old.txt now.txt)" ] || fail "kill $kills: lost or computed again: $(comm -23 old.txt now.txt | head -1 | cut -c1-80)"
    mv now.txt old.txt
    # Often everything is finished before 20 kills: begin anew.
    [ "$(wc -l <old.txt)" -lt "$n_cells" ] || { expect "merging in the storm" 0 "" "$program" merge storm; same_as_calm "storm" storm; rm -rf storm; : >old.txt; }
done
[ $kills = 20 ] || fail "killed $kills times, not 20"
for i in 1 2 3; do
    shard storm $i/3 --retry >/dev/null 2>err.txt || fail "after the storm: $(cat err.txt)"
done
expect "merging after the storm" 0 '' "$program" merge storm
same_as_calm "after the storm" storm

for i in 1 2 3; do
    shard parts $i/3 >/dev/null
done
cp -r parts whole
usual=$(seconds "$program" merge whole)
told_by_all parts >all.txt
kills=0 tries=0
while [ $kills -lt 12 ] && [ $tries -lt 200 ]; do
    [ -e merged/parts ] || { rm -rf merged; cp -r parts merged; }
    kill_within "$program" merge merged
    cmp -s all.txt <(told_by_all merged) || fail "merge, kill $kills: $(told_by_all merged | wc -l) of $(wc -l <all.txt) cells are left"
done
[ $kills = 12 ] || fail "killed $kills merges, not 12"
expect "a merge after kills" 0 '' "$program" merge merged
same_as_calm "a merge after kills" merged

# ---- signals and locks ------------------------------------------------------------------------------------------
sed 's/latency: false/latency: {min_time: 600, timeout: 600}/' small.yaml >long.yaml
begin_long() { # a shard that lasts until it is stopped; waits until its first cells have started
    "$program" run long.yaml --out long --shard 1/2 --quiet >said.txt 2>&1 &
    pid=$!
    for _ in $(seq 2000); do
        [ ! -s long/parts/shard-1-of-2/.started ] || return 0
        sleep 0.005
    done
    fail "a shard does not begin: $(cat said.txt)"
}
for _ in 1 2 3; do
    begin_long
    kill -TERM $pid
    wait $pid
    code=$?
    pid=
    [ $code = 130 ] && grep -q 'interrupted; finished cells are in long' said.txt || fail "SIGTERM: exit $code: $(cat said.txt)"
    [ ! -s long/parts/shard-1-of-2/.started ] || fail "SIGTERM counts as a death"
done
begin_long
expect "another shard meanwhile" 0 '' timeout 60 "$program" run long.yaml --out long --shard 100/100 --quiet
expect "the same shard twice" 5 'long/parts/shard-1-of-2: in use by another process' \
    timeout 30 "$program" run long.yaml --out long --shard 1/2 --quiet
expect "a merge meanwhile" 5 'long: in use by another process' "$program" merge long
expect "a plain run meanwhile" 5 'long: in use by another process' timeout 30 "$program" run long.yaml --out long --quiet
kill -TERM $pid
wait $pid
pid=

# ---- a cell that kills its process ---------------------------------------------------------------------------------
# dies NAME [OPTION]...: a run that is expected to die
dies() {
    local name=$1
    shift
    { "$killer" run "$@" --quiet >said.txt 2>&1; code=$?; } 2>/dev/null
    [ $code != 0 ] && [ $code != 130 ] || fail "$name: exit $code, expected a death: $(tail -1 said.txt)"
}
rows() { # DIR STATUS: how many
    awk -F, -v status="$2" '$2 == status { n++ } END { print n + 0 }' "$1/results.csv"
}
sed '/^match/d; s/k: \[1, 4\]/k: [1, 4]/' small.yaml >deadly.yaml # two cells of 32 kill
for i in 1 2 3 4; do
    dies "death $i" deadly.yaml --out died
done
expect "after four deaths of two cells" 0 '' "$killer" run deadly.yaml --out died --quiet
[ "$(rows died failed)" = 2 ] && [ "$(rows died ok)" = 30 ] || fail "after four deaths: $(rows died ok) ok, $(rows died failed) failed"
[ "$(grep -c 'its process died twice while it ran; --retry runs it again' died/results.csv)" = 2 ] || fail "a death without its reason"
dies "again with --retry" deadly.yaml --out died --retry
expect "the same again" 0 '' "$killer" run deadly.yaml --out died --quiet
[ "$(rows died failed)" = 2 ] || fail "after --retry: $(rows died failed) failed"
# The same in shards, another number of them each time: deaths are counted over all.
for n in 1 2 3 1; do
    for ((i = 1; i <= n; i++)); do
        "$killer" run deadly.yaml --out shards --shard $i/$n --quiet >said.txt 2>&1
    done 2>/dev/null
done
expect "shards after deaths" 0 '' "$killer" run deadly.yaml --out shards --shard 1/1 --quiet
expect "merging shards after deaths" 0 '' "$killer" merge shards
cmp -s died/results.csv shards/results.csv || fail "shards after deaths: other rows: $(diff died/results.csv shards/results.csv | head -3)"
# Cells that are timed together die together; then each alone shows which it was.
sed 's/latency: false/latency: {warmup: 0, min_samples: 1, min_time: 0, timeout: 0.01}/' deadly.yaml >together.yaml
for i in 1 2 3; do
    dies "death $i of a bundle" together.yaml --out together
done
expect "after three deaths in a bundle" 0 '' "$killer" run together.yaml --out together --quiet
[ "$(rows together failed)" = 2 ] && [ "$(rows together ok)" = 30 ] ||
    fail "deaths in a bundle: $(rows together ok) ok, $(rows together failed) failed"

# ---- Slurm, with a scheduler that runs jobs in turn ------------------------------------------------------------------
mkdir bin
cat >bin/sbatch <<'SH'
#!/usr/bin/env bash
# Notes its arguments, then runs the job, of an array each task.
printf '%s\n' "$*" >>sbatch.log
tasks=(0)
while [ $# -gt 0 ]; do
    case $1 in
        --array=1-*) mapfile -t tasks < <(seq "${1#--array=1-}") ;;
        --wrap) command=$2; shift ;;
    esac
    shift
done
for SLURM_ARRAY_TASK_ID in "${tasks[@]}"; do
    export SLURM_ARRAY_TASK_ID
    bash -c "$command" >>jobs.log 2>&1
done
echo "$((1000 + $(wc -l <sbatch.log)));cluster"
SH
chmod +x bin/sbatch
expect "a sweep by Slurm" 0 '' env PATH="$tmp/bin:$PATH" STEMBENCH="$program" "$sweep" small.yaml --out "by slurm" --shards 4 \
    --set 'block=16' -- --time=1:00:00
[ "$(cat out.txt)" = $'array 1001\nmerge 1002' ] || fail "slurm_sweep.sh says: $(cat out.txt)"
grep -q -- '--time=1:00:00 --array=1-4' sbatch.log && grep -q -- '--time=1:00:00 --dependency=afterany:1001' sbatch.log ||
    fail "slurm_sweep.sh submits: $(cat sbatch.log)"
cmp -s calm/results.csv "by slurm/results.csv" || fail "a sweep by Slurm: other results: $(tail -3 jobs.log)"
expect "Slurm without a config" 2 'no config' "$sweep" --out x --shards 2
expect "Slurm without shards" 2 "--shards is ''" "$sweep" small.yaml --out x
mkdir none
ln -s "$(command -v bash)" "$(command -v dirname)" none
expect "Slurm without sbatch" 2 'no sbatch' env PATH="$tmp/none" STEMBENCH="$program" "$sweep" small.yaml --out x --shards 2

summary
