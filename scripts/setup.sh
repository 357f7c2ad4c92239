#!/usr/bin/env bash
# Install what building, running and plotting need, where it is missing (Debian, Ubuntu), and build.
# usage: scripts/setup.sh [BUILD_DIR [TARGET]]     default: build all
set -eu
cd "$(dirname "$0")/.."
build=${1:-build}
target=${2:-all}

missing=()
need() { # COMMAND PACKAGE
    command -v "$1" >/dev/null 2>&1 || missing+=("$2")
}
need cc gcc
need make make
need cmake cmake
need pkg-config pkg-config
need git git
need gnuplot gnuplot-nox
[ -e /usr/include/hdf5/serial/hdf5.h ] || [ -e /usr/include/hdf5.h ] || missing+=(libhdf5-dev)
pkg-config --exists yaml-0.1 2>/dev/null || [ -e /usr/include/yaml.h ] || missing+=(libyaml-dev)

if [ ${#missing[@]} -gt 0 ]; then
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "setup: install these packages (Debian's names) and run again: ${missing[*]}" >&2
        exit 5
    fi
    sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    echo "setup: installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    $sudo apt-get update -qq
    $sudo apt-get install -y -qq --no-install-recommends libc6-dev "${missing[@]}" >/dev/null
fi

# Another build folder's cache, or a moved tree, would confuse cmake.
if [ -f "$build/CMakeCache.txt" ] && ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$PWD" "$build/CMakeCache.txt"; then
    rm -rf "$build"
fi
mkdir -p "$build"
log=$build/setup.log
echo "setup: building $target in $build/"
{ cmake -S . -B "$build" && cmake --build "$build" --target "$target" -j "$(nproc)"; } >"$log" 2>&1 || {
    echo "setup: the build failed; the end of $log:" >&2
    tail -n 40 "$log" >&2
    exit 5
}
