#!/usr/bin/env bash
# shellcheck disable=SC2016
# What the CUDA kernels reach on this machine's GPU: their conformance tests, compute-sanitizer on small shapes where
# it is there, then configs/bench-h100.yaml over captures made here (3 GB in data/.cache), plots, and a summary.
# Meant for ten minutes of one H100 with 16 cores. cuDNN is looked for where the loader does not find it.
# usage: scripts/bench_gpu.sh [--out DIR] [--threads N] [--build DIR] [--tokens N] [--config FILE] [--skip-checks]
#                             [-- RUN-OPTIONS]
#   --out DIR      run directory (results/bench-h100)
#   --tokens N     length of the captures (131072); shorter ones need a --config with shorter lengths
#   --skip-checks  neither conformance nor compute-sanitizer
# STEMBENCH=PROGRAM takes a program built elsewhere, and the GPU tests beside it in tests/; else it is built here.
set -eu
cd "$(dirname "$0")/.."
out=results/bench-h100 threads=$(nproc) build=build tokens=131072 config=configs/bench-h100.yaml checks=1
while [ $# -gt 0 ]; do
    case $1 in
        --out) out=$2 ;;
        --threads) threads=$2 ;;
        --build) build=$2 ;;
        --tokens) tokens=$2 ;;
        --config) config=$2 ;;
        --skip-checks) checks=0; shift; continue ;;
        --) shift; break ;;
        *) sed -n '3,/^set/s/^# //p' "$0" >&2; exit 2 ;;
    esac
    shift 2
done
step() { # WHAT
    printf '== %4d s  %s\n' $SECONDS "$1"
}
if [ -z "${STEMBENCH:-}" ]; then
    ./scripts/setup.sh "$build"
    STEMBENCH=$build/stembench
fi
tests=$(dirname "$STEMBENCH")/tests
if ! ldconfig -p 2>/dev/null | grep -q 'libcudnn\.so\.9'; then
    cudnn=$(find / -name libcudnn.so.9 -not -path '/proc/*' 2>/dev/null | head -1)
    LD_LIBRARY_PATH=${cudnn:+$(dirname "$cudnn"):}${LD_LIBRARY_PATH:-}
    export LD_LIBRARY_PATH
fi
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# ---- captures, while the GPU is being checked: 32 query heads on 8, d 64 and 128 ----------------------------------
capture() { # FILE DIM TOKENS HEADS KV_HEADS
    [ -e "$1" ] || "$STEMBENCH" synth --out "$1" --tokens "$3" --heads "$4" --kv-heads "$5" --dim "$2" \
        --layers 1 --seed 1 --compress 0 >/dev/null
}
step "captures of $tokens tokens"
mkdir -p data/.cache
{ capture data/.cache/bench-gpu-d64.h5 64 "$tokens" 32 8; capture data/.cache/bench-gpu-d128.h5 128 "$tokens" 32 8; } &
captures=$!

# ---- checks ---------------------------------------------------------------------------------------------------------
sanitize() { # TOOL KERNEL: a small run of every method
    local log=$tmp/$1-$2.log
    STEMBENCH_CUDA_KERNEL=$2 timeout 240 "$sanitizer" --tool "$1" --error-exitcode 9 "$STEMBENCH" run "$tmp/small.yaml" \
        --out "$tmp/$1-$2" --threads 2 --quiet >"$log" 2>&1 || { tail -n 20 "$log"; return 1; }
    ! grep -q ',failed,' "$tmp/$1-$2/results.csv" || { grep ',failed,' "$tmp/$1-$2/results.csv"; return 1; }
    echo "$1, $2 kernel: $(grep -o 'ERROR SUMMARY.*\|RACECHECK SUMMARY.*' "$log" | tail -1)"
}
if [ $checks = 1 ]; then
    for name in cuda_attend cuda_digest cuda_select cuda_cudnn; do
        step "conformance: $name"
        code=0
        timeout 180 "$tests/test_$name" >"$tmp/$name.log" 2>&1 || code=$?
        tail -n 3 "$tmp/$name.log"
        [ $code = 0 ] || [ $code = 77 ] || { echo "bench_gpu: test_$name failed ($code)" >&2; exit 1; }
    done
    sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null || true)
    if [ -n "$sanitizer" ]; then
        for dim in 64 128; do capture "$tmp/small-d$dim.h5" $dim 700 4 2; done
        cat >"$tmp/small.yaml" <<YAML
name: small
data: [$tmp/small-d64.h5, $tmp/small-d128.h5]
lengths: [700]
backend: cuda
block: [64, 128]
methods:
  - dense
  - uniform: {k: 2, sinks: 1, window: 1}
  - stem: {variant: [paper, angelslim, hpc], k_start: 3, sinks: 1, window: 1}
measure: {fidelity: {rows: 8, impl_rows: 8}, latency: false}
YAML
        step "compute-sanitizer: memcheck, racecheck, synccheck"
        running=()
        for tool in memcheck racecheck synccheck; do
            for kernel in auto mma; do
                sanitize $tool $kernel &
                running+=($!)
            done
        done
        for pid in "${running[@]}"; do
            wait "$pid" || { echo "bench_gpu: compute-sanitizer found errors" >&2; exit 1; }
        done
    else
        step "compute-sanitizer is not there: skipped"
    fi
fi
wait $captures

# ---- the run ----------------------------------------------------------------------------------------------------------
step "stembench run $config"
"$STEMBENCH" run "$config" --out "$out" --threads "$threads" "$@"
step "plots"
"$STEMBENCH" plot "$out" || echo "bench_gpu: no plots; stembench plot $out draws them where gnuplot is"

# Columns of results.csv by name: $at["NAME"]. No field that is read, and none before it, holds a comma.
rows() { # PROGRAM
    awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next } $at["status"] == "ok" { '"$1"' }' "$out/results.csv" |
        sort -k2,2n -k3,3n
}
echo
echo "dense, TFLOP/s: ours, cuDNN"
rows 'if ($at["method"] == "dense") printf "  d %-4s %6s tokens  %6.1f  %s\n", $at["head_dim"], $at["tokens"],
    $at["flops_dense"] / $at["own_dense_ms"] * 1e-9,
    $at["cudnn_ms"] == "" ? "-" : sprintf("%6.1f (%.3f)", $at["flops_dense"] / $at["cudnn_ms"] * 1e-9, $at["cudnn_ms"] / $at["own_dense_ms"])'
echo "attention alone: TFLOP/s, conversion against cuDNN (against the faster dense)"
rows 'base = $at["cudnn_ms"] == "" ? $at["dense_ms"] : $at["cudnn_ms"]
    if ($at["density"] < 1) printf "  d %-4s %6s tokens  %-8s density %.3f  %6.1f  %.3f (%.3f)\n", $at["head_dim"], $at["tokens"],
        $at["method"], $at["density"], $at["flops_attend"] / $at["attend_ms"] * 1e-9,
        base / $at["attend_ms"] * $at["density"], $at["dense_ms"] / $at["attend_ms"] * $at["density"]'
echo "Stem, selection included: speedup over cuDNN (over the faster dense), selection in % of dense"
rows 'base = $at["cudnn_ms"] == "" ? $at["dense_ms"] : $at["cudnn_ms"]
    if ($at["method"] == "stem") printf "  d %-4s %6s tokens  density %.3f  %.2f (%.2f)  %.2f %%\n", $at["head_dim"], $at["tokens"],
        $at["density"], base / $at["total_ms"], $at["speedup"], 100 * $at["select_ms"] / $at["dense_ms"]'
echo "largest impl_rel_l2: $(rows 'if ($at["impl_rel_l2"] > worst) worst = $at["impl_rel_l2"] } END { print worst' || true)"
echo "throttled samples: $(rows 'n += $at["throttled"] } END { print n + 0' || true)"
step "done"
grep -c ',failed,' "$out/results.csv" | sed 's/^/failed cells: /'
! grep -q ',failed,' "$out/results.csv"
