#!/bin/bash
# Plants one error at a time in a copy of the tree and requires that the named test program fails.
# Usage: methods/tests/planted.sh    (CC and CFLAGS are read; some minutes)
set -euo pipefail
cd "$(dirname "$0")/../.."
source_dir=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r harness methods "$work"
cd "$work"
mkdir objects support

# Without __gnu_linux__ nothing is cloned for wider instructions: the masks are those of the base set too,
# and sources compile faster.
cc="${CC:-cc} -std=c11 -U__gnu_linux__ -D_GNU_SOURCE -I. ${CFLAGS:--O2} -ffp-contract=off -fopenmp"
hdf5=$(pkg-config --cflags --libs hdf5)

compile() { # a source, or the sources that include a header
    local source
    for source in $(case $1 in *.h | *.def) grep -l "\"$1\"" $sources ;; *) echo "$1" ;; esac); do
        $cc -DSB_ISA=planted -c "$source" -o "objects/$(echo "$source" | tr / .).o" || return 1
    done
}

build() { # a test program, and its argument
    # shellcheck disable=SC2086
    $cc "test_${1%% *}.o" support/*.o objects/*.o $hdf5 -lm -o "test_${1%% *}"
}

# Stops reading at the first failed expectation, which ends most failing programs early.
passes() {
    # shellcheck disable=SC2086
    OMP_WAIT_POLICY=passive timeout 300 ./test_$1 2>&1 | awk '{ print } /: expected / { exit 1 }' >test.log
}

for file in methods/tests/oracle*.c methods/tests/{*rig,subjects}.c; do
    # shellcheck disable=SC2086
    $cc -c "$file" $hdf5 -o "support/$(basename "$file").o"
done
# The portable kernel stands for all: those for more than the base instruction set have their own tests.
cat >dispatch.c <<'EOF'
#include "methods/kernels/cpu/attend.h"
extern const sb_attend_kernel sb_cpu_portable_planted;
static const sb_attend_kernel *const kernels[] = {&sb_cpu_portable_planted};
const sb_attend_kernel *const *sb_cpu_kernels(int *n)
{
    *n = 1;
    return kernels;
}
const sb_attend_kernel *sb_cpu_kernel_for(const sb_problem *p, int64_t block)
{
    (void)p;
    (void)block;
    return kernels[0];
}
const sb_attend_kernel *sb_cpu_token_kernel_for(const sb_problem *p)
{
    (void)p;
    return kernels[0];
}
EOF
rm methods/kernels/cpu/{dispatch,peak,attend_amx,attend_amx_item}.c
sources=$(ls dispatch.c harness/{status,mem,problem,pattern,flops,handout,ranked}.c methods/*.c methods/kernels/cpu/*.c \
    methods/kernels/cuda/{absent,cudnn_absent}.c)
for file in $sources; do
    compile "$file"
done
grep -v '^#' "$source_dir/methods/tests/planted.txt" | cut -d'|' -f1 | sort -u >programs
for program in $(cut -d' ' -f1 programs | sort -u); do
    # shellcheck disable=SC2086
    $cc -c ./*/tests/test_$program.c -DSB_SOURCE_DIR="\"$source_dir\"" $hdf5 -o "test_$program.o"
    build "$program"
done
while read -r program; do
    passes "$program" || {
        cat test.log
        echo "test_$program fails without a planted error"
        exit 1
    }
done <programs
cp -r objects clean

plant() { # lines: plants each in turn, and prints how its test took it
    while IFS='|' read -r program file edit what; do
        cp "$file" original
        sed -i "$edit" "$file"
        if cmp -s "$file" original; then
            verdict="NO SUCH LINE"
        elif ! { compile "$file" && build "$program"; } 2>compile.log; then
            verdict="DOES NOT COMPILE"
        elif passes "$program"; then
            verdict="NOT CAUGHT"
        else
            verdict=caught
        fi
        printf '%-17s %-25s %-20s %s\n' "$verdict" "$program" "$(basename "$file")" "$what"
        cp original "$file"
        cp clean/* objects
    done
}

# As many at once as there are cores, each in a copy of its own.
grep -v '^#' "$source_dir/methods/tests/planted.txt" >lines
split -n "r/$(nproc)" lines part.
for part in part.*; do
    mkdir "copy.$part"
    cp -r clean dispatch.c harness methods objects support test_*.o "copy.$part"
    (cd "copy.$part" && plant <"../$part" >"../$part.log" 2>&1) &
done
wait
cat part.*.log
n=$(wc -l <lines)
caught=$(cat part.*.log | grep -c '^caught ' || true)
echo "$n errors planted, $((n - caught)) not caught"
[ "$caught" -eq "$n" ]
