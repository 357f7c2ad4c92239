#!/usr/bin/env bash
# Submit a sweep to Slurm: an array with a shard of the cells for each task, and a job that merges them afterwards.
# The same command again continues what was not finished, also with another number of shards.
# usage: slurm_sweep.sh CONFIG.yaml --out DIR --shards N [option of stembench run]... [-- option of sbatch...]
#   slurm_sweep.sh configs/field.yaml --out results/field --shards 16 --threads 8 -- --cpus-per-task=8 --time=4:00:00
# STEMBENCH names the program (build/stembench). Where nodes are not alike, give --threads, --isa and --backend:
# they are part of what a cell is.
set -eu
program=${STEMBENCH:-$(cd "$(dirname "$0")/.." && pwd)/build/stembench}
die() { echo "slurm_sweep.sh: $1" >&2; exit 2; }
config=${1:-}
case $config in '' | -*) die "no config; usage: slurm_sweep.sh CONFIG.yaml --out DIR --shards N [option]... [-- sbatch option...]" ;; esac
shift
out='' shards='' run=() both=()
while [ $# -gt 0 ]; do
    case $1 in
        --) shift; break ;;
        --out | --shards)
            [ $# -gt 1 ] || die "option '$1' needs a value"
            [ "$1" = --out ] && out=$2 || shards=$2
            shift 2 ;;
        --retry | --quiet) run+=("$1"); shift ;;
        *) both+=("$1"); shift ;;
    esac
done
[ -n "$out" ] || die "no --out"
case $shards in '' | *[!0-9]* | 0*) die "--shards is '$shards'; expected a whole number from 1" ;; esac
command -v sbatch >/dev/null || die "no sbatch in PATH"
"$program" check "$config" "${both[@]}" --shards "$shards" >&2 # a mistake is seen now, not by every task

quoted() { printf '%q ' "$@"; }
# The task is the program itself, so the signal before the time limit reaches it: it ends and can be continued.
array=$(sbatch --parsable --job-name=stembench "--array=1-$shards" --signal=B:TERM@60 "$@" \
    --wrap "exec $(quoted "$program" run "$config" --out "$out" --quiet "${both[@]}" "${run[@]}")--shard \$SLURM_ARRAY_TASK_ID/$shards")
array=${array%%;*} # a cluster's name may follow
merge=$(sbatch --parsable --job-name=stembench-merge "--dependency=afterany:$array" "$@" \
    --wrap "exec $(quoted "$program" merge "$out")")
echo "array $array"
echo "merge ${merge%%;*}"
