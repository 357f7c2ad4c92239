#!/usr/bin/env bash
# Submit a sweep to Slurm: an array with a shard of the cells for each task, and a job that merges them afterwards.
# The same command again continues what was not finished, also with another number of shards.
# usage: slurm_sweep.sh CONFIG.yaml --out DIR --shards N [--at-once M] [option of stembench run]...
#                       [-- option of sbatch...]
#   slurm_sweep.sh configs/field.yaml --out results/field --shards 16 --threads 8 -- --cpus-per-task=8 --time=4:00:00
# --at-once M lets no more than M tasks run at a time. What jobs print is in DIR.slurm/, as DIR holds results alone.
# Options of sbatch are of both jobs; timed cells want --exclusive, or a GPU each: --gpus=1 --backend cuda.
# STEMBENCH names the program (build/stembench). Where nodes are not alike, give --threads, --isa and --backend:
# they are part of what a cell is.
# Exit codes are those of stembench; 5 also where Slurm refuses.
set -eu
program=${STEMBENCH:-$(cd "$(dirname "$0")/.." && pwd)/build/stembench}
die() { echo "slurm_sweep.sh: $2" >&2; exit "$1"; }
config=${1:-}
case $config in '' | -*) die 2 "no config; usage: slurm_sweep.sh CONFIG.yaml --out DIR --shards N [option]... [-- sbatch option...]" ;; esac
shift
out='' shards='' at_once='' here=() nodes=() run=() # options: of any machine, of the nodes, of run alone
while [ $# -gt 0 ]; do
    case $1 in
        --) shift; break ;;
        --out=* | --shards=* | --at-once=* | --isa=* | --backend=*) set -- "${1%%=*}" "${1#*=}" "${@:2}" ;;
        --out | --shards | --at-once | --isa | --backend)
            [ $# -gt 1 ] || die 2 "option '$1' needs a value"
            case $1 in --out) out=$2 ;; --shards) shards=$2 ;; --at-once) at_once=$2 ;; *) nodes+=("$1" "$2") ;; esac
            shift 2 ;;
        --retry | --quiet) run+=("$1"); shift ;;
        *) here+=("$1"); shift ;;
    esac
done
whole() { case $2 in '' | *[!0-9]* | 0*) die 2 "$1 is '$2'; expected a whole number from 1" ;; esac; }
while [[ $out == ?*/ ]]; do out=${out%/}; done
[ -n "$out" ] || die 2 "no --out"
whole --shards "$shards"
[ -z "$at_once" ] || whole --at-once "$at_once"
command -v sbatch >/dev/null || die 2 "no sbatch in PATH"
command -v "$program" >/dev/null || die 2 "no program '$program'; STEMBENCH names it"

# A mistake is seen now, not by every task. Where jobs are submitted there may be no GPU (4): then without an estimate.
code=0
"$program" check "$config" "${here[@]}" "${nodes[@]}" --shards "$shards" >&2 || code=$?
if [ $code = 4 ]; then
    code=0
    "$program" check "$config" "${here[@]}" --backend cpu >/dev/null || code=$?
    echo "slurm_sweep.sh: no estimate from this machine" >&2
fi
[ $code = 0 ] || exit $code
mkdir -p "$out.slurm" || exit 5

refused() { # WHAT: sbatch has said why
    rmdir "$out.slurm" 2>/dev/null || true
    die 5 "nothing is submitted: Slurm refuses the $1"
}
quoted() { # for /bin/sh
    local word quote="'\\''"
    for word; do printf "'%s' " "${word//\'/$quote}"; done
}
submit() { # COMMAND OPTION...: after a lost node it begins again, which continues
    sbatch --job-name=stembench --requeue --open-mode=append "${@:2}" --parsable --wrap "exec $1"
}
logs=${out//%/%%}.slurm/%x-
shard=$(quoted "$program" run "$config" --out "$out" --quiet "${here[@]}" "${nodes[@]}" "${run[@]}")
# The task is the program itself, so the signal before the time limit reaches it: it ends and can be continued.
array=$(submit "$shard--shard \$SLURM_ARRAY_TASK_ID/$shards" --signal=B:TERM@60 --output="$logs%A_%a.out" "$@" \
    --array="1-$shards${at_once:+%$at_once}") || refused array
cluster=()
[[ $array != *';'* ]] || cluster=("--clusters=${array#*;}")
array=${array%%;*}
merge=$(submit "$(quoted "$program" merge "$out")" --job-name=stembench-merge --output="$logs%j.out" "$@" \
    --dependency="afterany:$array" "${cluster[@]}") || { scancel "${cluster[@]}" "$array"; refused merge; }
echo "array $array"
echo "merge ${merge%%;*}"
