#!/usr/bin/env bash
# The figures that readers of the Stem paper know, from configs/paper/: runs those asked for and draws every plot.
# A second call continues where the first one stopped.
# usage: scripts/paper.sh [N]... [--backend B] [--out DIR] [--format F] [-- RUN-OPTIONS]
#   N             1 latency by length        2 accuracy by budget   3 ablation            4 sweeps of mu and beta
#                 5 errors by layer          6 released schedules   7 block and stride    8 shapes of the decay
#                 (all)
#   --backend B   cpu, cuda or auto (cpu); with cuda, figure 1 goes on to 128K tokens
#   --out DIR     run directories DIR/N-NAME (results/paper)
#   --format F    of the plots: svg, png or pdf (svg)
#   RUN-OPTIONS   for every stembench run, such as --threads 4
# STEMBENCH=PROGRAM takes a program built elsewhere; else it is built here.
set -eu
cd "$(dirname "$0")/.."

die() { # MESSAGE
    echo "paper: $1" >&2
    exit 2
}
asked=() backend=cpu out=results/paper format=svg
while [ $# -gt 0 ]; do
    case $1 in
        --help | -h) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit ;;
        --) shift; break ;;
        [1-8]) asked+=("$1"); shift; continue ;;
        --backend | --out | --format) [ -n "${2:-}" ] || die "$1 has no value" ;;
        *) die "unknown argument '$1'; expected figures from 1 to 8, --backend, --out, --format or --help" ;;
    esac
    case $1 in
        --backend) backend=$2 ;;
        --out) out=$2 ;;
        --format) format=$2 ;;
    esac
    shift 2
done
case $backend in cpu | cuda | auto) ;; *) die "backend is '$backend'; expected cpu, cuda or auto" ;; esac
case $format in svg | png | pdf) ;; *) die "format is '$format'; expected svg, png or pdf" ;; esac
[ ${#asked[@]} -gt 0 ] || asked=(1 2 3 4 5 6 7 8)
options=("$@")

if [ -z "${STEMBENCH:-}" ]; then
    ./scripts/setup.sh build stembench
    STEMBENCH=build/stembench
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# Run a config, put the published values of its figures beside the results, draw, and say what was made.
draw() { # NAME CONFIG [RUN-OPTION]...
    local dir=$out/$1 name=$1 config=$2 begin=$SECONDS cells
    shift 2
    "$STEMBENCH" run "$config" --out "$dir" --backend "$backend" --quiet "$@" "${options[@]}" >"$log"
    cells=$(grep -o '^[0-9]* cells (.*)' "$log")
    awk -F, -v name="$name" 'NR == 1 || $1 == name { sub(/^[^,]*,/, ""); print }' configs/paper/published.csv >"$dir/published.csv"
    [ "$(wc -l <"$dir/published.csv")" -gt 1 ] || rm "$dir/published.csv"
    "$STEMBENCH" plot "$dir" --format "$format" >"$log"
    echo "$name: $cells, $(grep -c ^wrote "$log") plots in $dir/plots, $((SECONDS - begin)) s"
}

# The captures of scripts/bench_cpu.sh and bench_gpu.sh.
synth() { # FILE TOKENS HEADS KV_HEADS DIM COMPRESS
    [ -e "$1" ] || "$STEMBENCH" synth --out "$1" --tokens "$2" --heads "$3" --kv-heads "$4" --dim "$5" --layers 1 \
        --seed 1 --compress "$6" >/dev/null
}
latency() {
    draw 1-latency-length configs/paper/1-latency-length.yaml
    if [ "$backend" = cuda ]; then
        synth data/.cache/bench-gpu-d128.h5 131072 32 8 128 0
        draw 1-latency-cuda configs/bench-h100.yaml --set data=data/.cache/bench-gpu-d128.h5
    else
        synth data/.cache/bench-d64.h5 32768 9 3 64 4
        draw 1-latency-long configs/paper/1-latency-long.yaml
    fi
}
layers() {
    local config=configs/paper/5-layers.yaml capture=data/.cache/smollm2-135m-all.h5
    if [ ! -e $capture ] && ./scripts/make_capture.sh --layers all --tokens 4096 --out $capture.tmp >"$log" 2>&1; then
        mv $capture.tmp $capture
    fi
    if [ -e $capture ]; then
        draw 5-layers $config --set data=$capture
    else
        echo "5-layers: the two shipped layers, for all could not be captured ($(tail -n 1 "$log"))"
        draw 5-layers-shipped $config
    fi
}

mkdir -p data/.cache
for n in "${asked[@]}"; do
    case $n in
        1) latency ;;
        5) layers ;;
        *) config=$(echo configs/paper/"$n"-*.yaml)
           draw "$(basename "$config" .yaml)" "$config" ;;
    esac
done
