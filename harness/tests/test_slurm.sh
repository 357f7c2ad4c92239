#!/usr/bin/env bash
# A sweep under a real Slurm, of one node on this machine that the test starts and stops: an array and its merge give the
# results of one process, also when a task is killed, or stopped as before a time limit, and submitted again; a
# submission that Slurm refuses leaves no jobs; an MPI build shares a sweep among the ranks of srun.
# Nothing of /etc/slurm, /etc/munge or /var is used. Skipped where Slurm is not installed.
# usage: test_slurm.sh PROGRAM SLURM_SWEEP MPI     MPI: the version that the program is built with, or off
set -u
program=$1 sweep=$2 mpi=$3
# shellcheck source=harness/tests/sweep_kit.sh
. "$(dirname "$0")/sweep_kit.sh"
export LC_ALL=C OMP_NUM_THREADS=1 PATH=$PATH:/usr/sbin:/sbin
unset "${!SLURM_@}" "${!SBATCH_@}" # of a job that this may be in
for command in munged slurmctld slurmd sbatch scancel scontrol sinfo squeue srun; do
    command -v $command >/dev/null || { echo "$command is not installed; Debian has slurmctld, slurmd, slurm-client and munge"; exit 77; }
done
tmp=$(mktemp -d)
cd "$tmp" || exit 1
ulimit -c 0
# until_true SECONDS COMMAND...: wait until it succeeds.
until_true() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.02
    done
}

# ---- one node, in this folder alone --------------------------------------------------------------------------
daemons=()
jobs_over() { [ -z "$(squeue --noheader 2>&1)" ]; }
over() { ! kill -0 "$1" 2>/dev/null; }
stop_all() {
    local i
    [ ! -e up ] || { scancel --user="$(id -un)" --quiet; until_true 10 jobs_over; } 2>/dev/null
    for ((i = ${#daemons[@]} - 1; i >= 0; i--)); do
        kill "${daemons[i]}" 2>/dev/null
        until_true 5 over "${daemons[i]}" || kill -9 "${daemons[i]}"
    done
    cd / && rm -rf "$tmp"
}
trap stop_all EXIT
trap 'exit 1' INT TERM HUP

start() { # NAME COMMAND...: in the background, until stop_all
    "${@:2}" >"$1.log" 2>&1 &
    daemons+=($!)
}
free_port() { # FIRST: the first from there that nothing listens on
    local port=$1
    while (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
    echo "$port"
}
node=$(uname -n)
node=${node%%.*}
port=$(free_port $((10000 + $$ % 9000)))
user=$(id -un)
export SLURM_CONF=$tmp/slurm.conf
mkdir state spool work
head -c 128 /dev/urandom >munge.key
chmod 600 munge.key
cat >slurm.conf <<CONF
ClusterName=test
SlurmctldHost=$node(127.0.0.1)
SlurmctldPort=$port
SlurmdPort=$(free_port $((port + 1)))
SlurmUser=$user
SlurmdUser=$user
AuthInfo=socket=$tmp/munge
StateSaveLocation=$tmp/state
SlurmdSpoolDir=$tmp/spool
TmpFS=$tmp/work
SlurmctldPidFile=$tmp/slurmctld.pid
SlurmdPidFile=$tmp/slurmd.pid
PlugStackConfig=/dev/null
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SchedulerType=sched/builtin
SchedulerParameters=sched_interval=1,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
PropagateResourceLimits=NONE
KillWait=2
NodeName=$node NodeAddr=127.0.0.1 CPUs=4
PartitionName=all Nodes=ALL Default=YES
CONF
start munged munged --foreground --force --num-threads=2 --socket="$tmp/munge" --key-file="$tmp/munge.key" \
    --pid-file="$tmp/munged.pid" --seed-file="$tmp/munge.seed"
start slurmctld slurmctld -D
start slurmd slurmd -D -N "$node"
node_idle() { [ "$(sinfo --noheader --format=%T 2>/dev/null)" = idle ]; }
if ! until_true 20 node_idle; then
    why=$(grep -hiE 'error|fatal' munged.log slurmctld.log slurmd.log | tail -1)
    [ "$user" = root ] || { echo "Slurm does not start as user $user: $why"; exit 77; }
    echo "FAIL Slurm does not start: $why"
    exit 1
fi
: >up

# ---- the sweep, by one process ------------------------------------------------------------------------------------
"$program" synth --out small.h5 --tokens 512 --heads 2 --kv-heads 1 --dim 32 --layers 2 --needles 2 >/dev/null || exit 1
cat >small.yaml <<'YAML'
name: small
data: small.h5
layers: [0, 1]
lengths: [128, 256, 384, 512]
block: 16
methods:
  - dense
  - uniform: {k: [1, 2, 3, 4, 5, 6, 7, 8], sinks: [0, 1], window: [1, 2, 3]}
  - stem: {k_start: 3, mu: [1.0, 0.5], sinks: 1, window: 1}
  - streaming
measure: {latency: false}
YAML
"$program" run small.yaml --out calm --quiet >/dev/null || exit 1
n_cells=$(($(wc -l <calm/results.csv) - 1))

# ---- jobs ---------------------------------------------------------------------------------------------------------
submit() { # [ARGUMENT of slurm_sweep.sh]...: leaves the jobs in $array and $merge
    array='' merge=''
    STEMBENCH=$program "$sweep" small.yaml "$@" >said.txt 2>err.txt || fail "submitting $*: $(tail -1 err.txt)"
    { read -r _ array; read -r _ merge; } <said.txt
}
fact() { # JOB NAME: what Slurm says of a job
    scontrol --oneliner show job "$1" 2>&1 | tr ' ' '\n' | sed -n "s/^$2=//p" | head -1
}
has_ended() {
    case $(fact "$1" JobState) in '' | PENDING | RUNNING | CONFIGURING | COMPLETING) return 1 ;; esac
}
ends() { # NAME JOB EXIT: it ends within a minute, with the exit code and signal EXIT
    until_true 60 has_ended "$2" || fail "$1: job $2 does not end: $(fact "$2" Reason)"
    [ "$(fact "$2" ExitCode)" = "$3" ] && pass ||
        fail "$1: job $2 is $(fact "$2" JobState) with $(fact "$2" ExitCode), expected $3"
}
finished() { # DIR: how many cells its parts hold
    find "$1/parts" -name results.csv -exec sed -s 1d {} + 2>/dev/null | wc -l
}
computed_before() { # DIR ARRAY: as its tasks say
    sed -n 's/.* cells (\([0-9]*\) computed before.*/\1/p' "$1.slurm/stembench-$2"_*.out | awk '{ n += $1 } END { print n + 0 }'
}

# An array of 4, with a folder whose name takes quoting; options of sbatch reach both jobs.
out="a swéep's 100%A & more"
submit --out "$out" --shards 4 -- --time=7
[ "$(fact "$merge" TimeLimit),$(fact "${array}_1" TimeLimit)" = 00:07:00,00:07:00 ] || fail "options of sbatch: $(fact "$merge" TimeLimit)"
ends "merge" "$merge" 0:0
for i in 1 2 3 4; do ends "task $i" "${array}_$i" 0:0; done
same_as_calm "an array of 4" "$out"
[ "$(find . -name '*.out' | wc -l)" = 5 ] && [ "$(find "$out.slurm" -name '*.out' | wc -l)" = 5 ] ||
    fail "what jobs print: $(find . -name '*.out' | tr '\n' ' ')"

# interrupted NAME SIGNAL EXIT [ARGUMENT]...: of an array of 4 task 2 gets a signal in the middle of its cells. The merge
# fails and says what is missing; another submission, with the arguments, computes that and nothing else.
in_the_middle() { [ "$(wc -l <"$1/parts/shard-2-of-4/results.csv")" -gt 5 ]; } 2>/dev/null
interrupted() {
    local name=$1 signal=$2 exit=$3 try before
    shift 3
    for try in 1 2 3 4 5; do # again where the task was done before the signal came
        submit --out "$name-$try" --shards 4
        until_true 30 in_the_middle "$name-$try" || fail "$name: task 2 does not begin"
        scancel --batch --signal="$signal" "${array}_2"
        until_true 60 has_ended "$merge" || fail "$name: the merge does not end: $(fact "$merge" Reason)"
        [ "$(fact "${array}_2" ExitCode)" = 0:0 ] || break
    done
    ends "$name, task 2" "${array}_2" "$exit"
    for i in 1 3 4; do ends "$name, task $i" "${array}_$i" 0:0; done
    ends "$name, merge" "$merge" 1:0
    name=$name-$try
    before=$(finished "$name")
    grep -q "[0-9] of $n_cells cells are missing: .*run the shards" "$name.slurm/stembench-merge-$merge.out" ||
        fail "$name: the merge says: $(cat "$name.slurm/stembench-merge-$merge.out")"
    [ "$before" -gt $((n_cells * 3 / 5)) ] && [ "$before" -lt "$n_cells" ] || fail "$name: $before of $n_cells cells are finished"
    submit --out "$name" "$@"
    ends "$name, the second merge" "$merge" 0:0
    [ "$(computed_before "$name" "$array")" -ge "$before" ] ||
        fail "$name: $before cells were finished, the tasks found $(computed_before "$name" "$array")"
    same_as_calm "$name, submitted again" "$name"
}
interrupted killed KILL 0:9 --shards 4
# As --signal=B:TERM@60 does before a time limit, of which the shortest is a minute.
interrupted stopped TERM 130:0 --shards 3 --at-once 2
grep -q 'interrupted; finished cells are in stopped' stopped-*.slurm/*_2.out || fail "a stopped task does not say so"
[ "$(fact "${array}_1" ArrayTaskThrottle)" = 2 ] || fail "--at-once 2: $(fact "${array}_1" ArrayTaskThrottle)"

# ---- what Slurm refuses -----------------------------------------------------------------------------------------------
# refused NAME PATTERN: slurm_sweep.sh ends with 5 and leaves neither jobs nor folders.
refused() {
    local code
    STEMBENCH=$program "$sweep" small.yaml --out refused --shards 4 "${@:3}" >said.txt 2>err.txt
    code=$?
    [ $code = 5 ] && [ ! -s said.txt ] && tail -1 err.txt | grep -q "$2" || fail "$1: exit $code: $(tail -1 err.txt)"
    until_true 10 jobs_over && [ ! -e refused ] && [ ! -e refused.slurm ] && pass || fail "$1: left behind: $(squeue --noheader)"
}
refused "a partition that is not there" 'nothing is submitted: Slurm refuses the array' -- --partition=none
mkdir bin
printf '#!/bin/sh\ncase "$*" in *--dependency*) exit 1 ;; esac\nexec %s "$@"\n' "$(command -v sbatch)" >bin/sbatch
chmod +x bin/sbatch
PATH=$tmp/bin:$PATH refused "a merge" 'nothing is submitted: Slurm refuses the merge' -- --hold

# ---- ranks ----------------------------------------------------------------------------------------------------------------
if [ "$mpi" != off ]; then # Debian's Open MPI and Slurm have PMIx in common, and not PMI-2
    # Open MPI itself leaks.
    ASAN_OPTIONS=detect_leaks=0 timeout 60 srun --mpi=pmix --ntasks=3 "$program" run small.yaml --out ranks --quiet \
        >said.txt 2>&1 || fail "ranks: $(tail -1 said.txt)"
    same_as_calm "ranks" ranks
else
    echo "without MPI: srun with 3 ranks is not tried"
fi

summary
