#!/usr/bin/env bash
# shellcheck disable=SC2016
# What the CPU kernels reach on this machine: runs configs/bench-cpu.yaml and configs/bench-cpu-dtypes.yaml, then,
# where Python has PyTorch, times its scaled_dot_product_attention in turns with our dense attention on the same
# tensors, threads and causal mask, and draws the plots. Wants a quiet machine and about 15 minutes on two cores.
# Run again, it goes on where it stopped.
# usage: scripts/bench_cpu.sh [--out DIR] [--threads N] [--python PATH] [--rounds N] [--build DIR] [-- RUN-OPTIONS]
#   --out DIR      results of bench-cpu and peers.csv (results/bench-cpu); DIR-dtypes holds those of bench-cpu-dtypes
#   --threads N    CPU threads of either side (all cores)
#   --python PATH  a Python with PyTorch (python3)
#   --rounds N     rounds for each shape in turns with PyTorch (5)
#   RUN-OPTIONS    for stembench run of both configs, such as --set measure.latency.timeout=1
set -eu
cd "$(dirname "$0")/.."
out=results/bench-cpu threads=$(nproc) python=python3 rounds=5 build=build
while [ $# -gt 0 ]; do
    case $1 in
        --out) out=$2 ;;
        --threads) threads=$2 ;;
        --python) python=$2 ;;
        --rounds) rounds=$2 ;;
        --build) build=$2 ;;
        --) shift; break ;;
        *) sed -n '3,/^set/s/^# //p' "$0" >&2; exit 2 ;;
    esac
    shift 2
done
./scripts/setup.sh "$build" stembench
stembench=$build/stembench

# ---- captures: 9 query heads on 3, d 64, and 8 on 8, d 128 --------------------------------------------
capture() { # DIM HEADS KV_HEADS
    local file=data/.cache/bench-d$1.h5
    [ -e "$file" ] || "$stembench" synth --out "$file" --tokens 32768 --heads "$2" --kv-heads "$3" --dim "$1" \
        --layers 1 --seed 1
}
mkdir -p data/.cache
capture 64 9 3
capture 128 8 8

# ---- our own ------------------------------------------------------------------------------------------------
"$stembench" run configs/bench-cpu.yaml --out "$out" --threads "$threads" "$@"
"$stembench" run configs/bench-cpu-dtypes.yaml --out "$out-dtypes" --threads "$threads" "$@"

# Columns of results.csv by name: $at["NAME"]. No field that is read, and none before it, holds a comma.
rows() { # FILE PROGRAM
    awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next } $at["status"] == "ok" { '"$2"' }' "$1"
}
echo
echo "attention alone, conversion = dense time / time of attend x density:"
rows "$out/results.csv" 'if ($at["density"] < 1) printf "  d %-4s %6s tokens  %-8s block %-4s density %.3f  conversion %.3f\n",
    $at["head_dim"], $at["tokens"], $at["method"], $at["block"], $at["density"],
    $at["dense_ms"] / $at["attend_ms"] * $at["density"]' | sort -k2,2n -k3,3n -k5,5 -k7,7n -k9,9n
echo "selection:"
rows "$out/results.csv" 'if ($at["method"] == "stem") printf "  d %-4s %6s tokens  %.2f %% of dense time\n",
    $at["head_dim"], $at["tokens"], 100 * $at["select_ms"] / $at["dense_ms"]'

# ---- in turns with PyTorch -----------------------------------------------------------------------------------
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

ours() { # DIM TOKENS DTYPE -> ms of dense attention
    cat >"$tmp/dense.yaml" <<YAML
name: dense
data: data/.cache/bench-d$1.h5
lengths: [$2]
dtype: $3
methods: [dense]
measure: {fidelity: false, latency: {warmup: 0, min_samples: 5, min_time: 0.3, noise: 1, timeout: 60}}
YAML
    "$stembench" run "$tmp/dense.yaml" --out "$tmp/dense" --threads "$threads" --fresh --quiet >/dev/null
    rows "$tmp/dense/results.csv" 'print $at["attend_ms"]'
}
ask() { # REQUEST -> its answer
    echo "$1" >&"${peer[1]}"
    read -r answer <&"${peer[0]}" || { echo "bench_cpu: scripts/bench_peer.py ended" >&2; exit 5; }
}
in_turns() { # DIM HEADS KV_HEADS TOKENS DTYPE
    "$stembench" inspect "data/.cache/bench-d$1.h5" --layer 0 --tokens "$4" --dtype "$5" --out "$tmp/x" >/dev/null
    ask "load $2 $3 $1 $4 $5 $tmp/x"
    local way=$answer mine theirs round
    : >"$tmp/rounds.csv"
    for round in $(seq "$rounds"); do
        if [ $((round % 2)) = 1 ]; then
            mine=$(ours "$1" "$4" "$5")
            ask time
            theirs=$answer
        else
            ask time
            theirs=$answer
            mine=$(ours "$1" "$4" "$5")
        fi
        echo "$1,$4,$5,$round,$mine,$theirs,PyTorch,$version" >>"$tmp/rounds.csv"
    done
    cat "$tmp/rounds.csv" >>"$tmp/peers.csv"
    awk -F, -v way="$way" '
        function median(x, n,   i, j, t) {
            for (i = 2; i <= n; i++) for (j = i; j > 1 && x[j] < x[j - 1]; j--) { t = x[j]; x[j] = x[j - 1]; x[j - 1] = t }
            return n % 2 ? x[(n + 1) / 2] : (x[n / 2] + x[n / 2 + 1]) / 2
        }
        { n++; mine[n] = $5; theirs[n] = $6; ratio[n] = $6 / $5; shape = "d " $1 ", " $2 " tokens, " $3 }
        END { m = median(ratio, n); printf "  %-26s %.2f (%.2f to %.2f)  ours %.2f ms, theirs %.2f ms, %s\n",
            shape, m, ratio[1], ratio[n], median(mine, n), median(theirs, n), way }' "$tmp/rounds.csv"
}

echo
if "$python" -c 'import torch' 2>/dev/null; then
    coproc peer { exec "$python" scripts/bench_peer.py "$threads"; }
    read -r _ version <&"${peer[0]}"
    echo "PyTorch $version time / ours, dense, $threads threads, median of $rounds rounds:"
    echo "head_dim,tokens,dtype,round,ours_ms,peer_ms,peer,version" >"$tmp/peers.csv"
    for tokens in 4096 8192 16384; do
        in_turns 64 9 3 $tokens bf16
        in_turns 128 8 8 $tokens bf16
    done
    for dtype in f32 f16; do
        in_turns 64 9 3 8192 $dtype
        in_turns 128 8 8 8192 $dtype
    done
    cp "$tmp/peers.csv" "$out/peers.csv"
else
    echo "bench_cpu: $python has no torch: not compared with PyTorch (--python PATH names another)"
fi
"$stembench" plot "$out"
