#!/usr/bin/env bash
# Whether all GPUs of this machine, a shard or an MPI rank each, find what one finds, and whether all are busy: a timed
# sweep of a synthetic capture, by one GPU, then by shards, then, where the build has MPI, by ranks. Fails where a column
# that is no time differs.
# usage: scripts/bench_gpus.sh [OUT.csv]     PROGRAM (build/stembench) may be set
#
# OUT.csv: a line for each run and GPU: seconds, in how many percent of samples, five a second, the driver saw kernels
# running, and the mean of that share of each sample's time.
set -eu
cd "$(dirname "$0")/.."
program=$(realpath "${PROGRAM:-build/stembench}")
out=${1:+$(realpath -m "$1")}
export LC_ALL=C OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
n_gpus=$(nvidia-smi --list-gpus | wc -l)
"$program" synth --out synthetic.h5 --tokens 8192 --heads 32 --kv-heads 8 --dim 128 --layers 4 --compress 0 >/dev/null
cat >gpus.yaml <<'YAML'
name: gpus
data: synthetic.h5
layers: [0, 1, 2, 3]
lengths: [4096, 8192]
backend: cuda
dtype: bf16
block: 128
methods:
  - dense
  - uniform: {schedule: {total: [0.1, 0.25, 0.5]}, sinks: 1, window: 1}
  - stem: {variant: hpc, mu: [1.0, 0.7]}
  - stem: {mu: [0.7, 0.4], schedule: {total: [0.1, 0.25]}, sinks: 1, window: 1}
measure:
  fidelity: {rows: 64, impl_rows: 64}
  latency: {warmup: 3, min_samples: 30, min_time: 0.4, noise: 0.01, timeout: 4}
YAML

one() { CUDA_VISIBLE_DEVICES=0 "$program" run gpus.yaml --out one; }
shards() {
    local i pids=()
    for ((i = 1; i <= n_gpus; i++)); do
        CUDA_VISIBLE_DEVICES=$((i - 1)) "$program" run gpus.yaml --out shards --shard "$i/$n_gpus" &
        pids+=($!)
    done
    for i in "${pids[@]}"; do wait "$i"; done
    "$program" merge shards
}
ranks() { mpirun --oversubscribe -n $((n_gpus + 1)) "$program" run gpus.yaml --out ranks; }

echo run,gpu,seconds,samples,busy_percent,mean_utilisation_percent >log.csv
watch() { # RUN
    local begin=$EPOCHREALTIME watcher
    nvidia-smi --query-gpu=index,utilization.gpu --format=csv,noheader,nounits --loop-ms=200 >used.txt &
    watcher=$!
    "$1" >said.txt 2>&1 || { kill "$watcher"; cat said.txt >&2; exit 1; }
    kill "$watcher"
    awk -F', ' -v run="$1" -v seconds="$(awk "BEGIN { printf \"%.1f\", $EPOCHREALTIME - $begin }")" '
        { n[$1]++; busy[$1] += $2 > 0; used[$1] += $2 }
        END { for (gpu = 0; gpu in n; gpu++)
            printf "%s,%d,%s,%d,%.0f,%.0f\n", run, gpu, seconds, n[gpu], 100 * busy[gpu] / n[gpu], used[gpu] / n[gpu] }' used.txt >>log.csv
}
# What is no time: of results.csv (no field before params holds a comma but the model's name, which is the same).
untimed() { # DIR
    awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) skip[i] = $i ~ /_ms(_|$)/ || $i ~ /^(samples|timing|speedup|conversion|peak_gflops|throttled|threads)$/ }
        { line = ""; for (i = 1; i <= NF; i++) line = line (skip[i] ? "" : $i) ","; print line }' "$1/results.csv"
}
watch one
watch shards
runs=shards
if ldd "$program" | grep -q libmpi; then
    watch ranks
    runs+=" ranks"
fi
[ -z "$out" ] || cp log.csv "$out"
column -s, -t log.csv
for run in $runs; do
    cmp <(untimed one) <(untimed "$run") || { echo "bench_gpus: $run found something else than one GPU" >&2; exit 1; }
    echo "$run: $(($(wc -l <one/results.csv) - 1)) cells as by one GPU"
done
