#!/usr/bin/env bash
# shellcheck disable=SC2154 # model_inputs.sh sets them
# The experiments with a model in the loop: gets the model and the texts (100 MB), builds the library, runs
# configs/model/NAME.yaml and draws its plots. A second call continues where the first one stopped.
# usage: scripts/experiment.sh NAME... [--backend B] [--out DIR] [--python PATH] [-- LOOP-OPTIONS]
#        scripts/experiment.sh --figures | --list
#   NAME           an experiment; --list says which there are
#   --backend B    cpu: what a config's section `small` leaves of it, within ten minutes on two cores;
#                  cuda: all of it, eight texts (cpu)
#   --out DIR      run directories DIR/NAME (results/model; those of the small versions results/model-small)
#   --python PATH  a Python with gguf, h5py, numpy, PyYAML and tokenizers, for cuda accelerate, torch and transformers
#                  (one in build/venv, which gets them)
#   --figures      only draw the plots of results/reference/model/ again, from its tables alone: without Python
#   LOOP-OPTIONS   for scripts/model_loop.py, such as --quiet
# STEMBENCH=PROGRAM takes a program built elsewhere, with libstembench.so beside it; else both are built here.
set -eu
cd "$(dirname "$0")/.."
. scripts/model_inputs.sh
packages+=" PyYAML==6.0.3"
packages_cuda="accelerate==1.15.0 torch==2.15.0 transformers==5.23.0"
modules="gguf, h5py, numpy, tokenizers, yaml"

die() { # CODE MESSAGE
    echo "experiment: $2" >&2
    exit "$1"
}
list() {
    local config
    for config in configs/model/*.yaml; do
        awk -v name="$(basename "$config" .yaml)" '!/^#/ { exit } { sub(/^#/, ""); says = says $0 }
            END { match(says, /[.?]( |$)/); printf "%-12s%s\n", name, substr(says, 1, RSTART) }' "$config"
    done
}
asked=() backend=cpu out='' python='' figures=''
while [ $# -gt 0 ]; do
    case $1 in
        --help | -h) sed -n '3,/^set/s/^# \{0,1\}//p' scripts/experiment.sh; exit ;;
        --list) list; exit ;;
        --figures) figures=1; shift; continue ;;
        --) shift; break ;;
        --backend | --out | --python) [ -n "${2:-}" ] || die 2 "$1 has no value" ;;
        -*) die 2 "unknown argument '$1'; expected NAME, --backend, --out, --python, --figures, --list or --help" ;;
        *)
            [ -e "configs/model/$1.yaml" ] || die 2 "no experiment '$1'; --list says which there are"
            asked+=("$1"); shift; continue ;;
    esac
    case $1 in
        --backend) backend=$2 ;;
        --out) out=$2 ;;
        --python) python=$2 ;;
    esac
    shift 2
done
options=("$@")
case $backend in
    cpu) options=(--small "${options[@]}"); out=${out:-results/model-small} ;;
    cuda) packages+=" $packages_cuda"; modules+=", accelerate, torch, transformers"; out=${out:-results/model} ;;
    *) die 2 "backend is '$backend'; expected cpu or cuda" ;;
esac
[ -n "$figures" ] || [ ${#asked[@]} -gt 0 ] || die 2 "which experiment? --list says which there are"

# ---- what it takes -----------------------------------------------------------------------------------
if [ -z "${STEMBENCH:-}" ]; then
    ./scripts/setup.sh build stembench
    [ -n "$figures" ] || ./scripts/setup.sh build stembench_shared
    STEMBENCH=build/stembench
fi
draw() { # DIR WHAT: with the published values beside the results, and say so
    local log name
    name=$(basename "$1")
    awk -F, -v name="$name" 'NR == 1 || $1 == name { sub(/^[^,]*,/, ""); print }' configs/model/published.csv >"$1/published.csv"
    [ "$(wc -l <"$1/published.csv")" -gt 1 ] || rm "$1/published.csv"
    log=$("$STEMBENCH" plot "$1")
    echo "$2$(grep -c ^wrote <<<"$log") plots in $1/plots"
}
if [ -n "$figures" ]; then
    for table in results/reference/model/*/results.csv; do
        draw "$(dirname "$table")" ""
    done
    exit
fi

get_python() {
    if [ -z "$python" ]; then
        python=build/venv/bin/python
        [ -x $python ] || { is_recent python3 && python3 -m venv build/venv; } ||
            die 5 "no virtual environment; expected python3 of version 3.11 or later with venv"
        # shellcheck disable=SC2086
        pip $python install $packages || die 5 "pip install $packages failed"
    fi
    "$python" -c "import $modules" 2>/dev/null || die 5 "$python lacks some of: $packages"
}

inputs=data/.cache/model work=''
trap 'rm -rf "$work"' EXIT
get() { # FILE SHA256 COMMAND [ARGUMENT]: has COMMAND FOLDER ARGUMENT make the file, where it is not there
    if [ ! -e "$inputs/$1" ]; then
        echo "experiment: getting $1"
        work=$(mktemp -d "$inputs/get.XXXXXX")
        "$3" "$work" "${@:4}" >"$work/log" 2>&1 && mv "$work/$1" "$inputs" ||
            { tail -n 5 "$work/log" >&2; die 5 "could not get $1; put it into $inputs"; }
        rm -rf "$work"
    fi
    has_sha256 "$inputs/$1" "$2" || die 3 "$inputs/$1 is another file than the experiments are about; remove it"
}
get_python
mkdir -p $inputs
get "$model" "$model_sha256" get_model "$python"
get jargon.txt.gz "$jargon_sha256" get_jargon
get kjv.txt "$kjv_sha256" get_kjv

# ---- the experiments ---------------------------------------------------------------------------------
texts=() # by turns of either source, so that the first two are one of each
for at in jargon.txt.gz:52138 kjv.txt:1000 jargon.txt.gz:300000 kjv.txt:1000000 \
    jargon.txt.gz:600000 kjv.txt:2000000 jargon.txt.gz:800000 kjv.txt:3000000; do
    texts+=(--text "$inputs/$at")
done
export STEMBENCH_LIBRARY=${STEMBENCH_LIBRARY:-$(dirname "$STEMBENCH")/libstembench.so} PYTHONDONTWRITEBYTECODE=1
for name in "${asked[@]}"; do
    begin=$SECONDS
    "$python" scripts/model_loop.py "configs/model/$name.yaml" --backend "$backend" --model "$inputs/$model" \
        "${texts[@]}" --out "$out/$name" "${options[@]}"
    draw "$out/$name" "$name: $((SECONDS - begin)) s, "
done
