#!/bin/bash
# Plants one error at a time in a copy of the tree and requires that the named test program fails.
# Usage: methods/tests/planted.sh    (CC and CFLAGS are read; under 3 minutes)
set -euo pipefail
cd "$(dirname "$0")/../.."
source_dir=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r harness methods "$work"
cd "$work"
mkdir objects support

cc="${CC:-cc} -std=c11 -D_GNU_SOURCE -I. ${CFLAGS:--O2} -ffp-contract=off -fopenmp"
hdf5=$(pkg-config --cflags --libs hdf5)

compile() {
    $cc -DSB_ISA=planted -c "$1" -o "objects/$(echo "$1" | tr / .).o"
}

build() { # a test program
    # shellcheck disable=SC2086
    $cc "test_$1.o" support/*.o objects/*.o $hdf5 -lm -o "test_$1"
}

# Stops reading at the first failed expectation, which ends most failing programs early.
passes() {
    OMP_WAIT_POLICY=passive timeout 60 "./test_$1" 2>&1 | awk '{ print } /: expected / { exit 1 }' >"$1.log"
}

for file in oracle oracle_budget rig; do
    $cc -c "methods/tests/$file.c" -o "support/$file.o"
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
EOF
for file in dispatch.c harness/status.c harness/mem.c harness/problem.c harness/pattern.c methods/*.c \
    methods/kernels/cpu/score.c methods/kernels/cpu/select.c methods/kernels/cpu/softmax.c methods/kernels/cpu/attend_portable.c \
    methods/kernels/cuda/absent.c methods/kernels/cuda/cudnn_absent.c; do
    compile "$file"
done
for program in budget params stem golden conformance; do
    # shellcheck disable=SC2086
    $cc -c "methods/tests/test_$program.c" -DSB_SOURCE_DIR="\"$source_dir\"" $hdf5 -o "test_$program.o"
    build $program
    passes $program || {
        cat $program.log
        echo "test_$program fails without a planted error"
        exit 1
    }
done
cp -r objects clean

n=0
missed=0
while IFS='|' read -r program file edit what; do
    case $program in \#*) continue ;; esac
    n=$((n + 1))
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
    printf '%-17s %-12s %-20s %s\n' "$verdict" "$program" "$(basename "$file")" "$what"
    [ "$verdict" = caught ] || missed=$((missed + 1))
    cp original "$file"
    cp clean/* objects
done <"$source_dir/methods/tests/planted.txt"
echo "$n errors planted, $missed not caught"
[ "$missed" -eq 0 ]
