#!/usr/bin/env bash
# Run the fuzz targets, each for some seconds or executions. Ends with 1 when one finds something, and leaves
# the input in the build folder as found-TARGET-*.
# usage: fuzz.sh BUILD_DIR [SECONDS [TARGET...]]     a clang build with -DSTEMBENCH_FUZZ=ON; default: 10, all
# FUZZ_SEED (1) starts the series of inputs: what one machine passes in less time, another passed on the way.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "$1" && pwd)
seconds=${2:-10}
shift $(($# < 2 ? $# : 2))
[ $# -gt 0 ] || set -- config gate capture results_csv

seeds=$build/fuzz-seeds
mkdir -p "$seeds/config" "$seeds/gate" "$seeds/capture" "$seeds/results_csv"
cp "$root"/configs/*.yaml "$seeds/config/"
cp "$root"/configs/gates/*.yaml "$seeds/gate/"
cp "$root"/harness/tests/corpus/capture/* "$seeds/capture/"
cp "$root"/harness/tests/corpus/results_csv/* "$seeds/results_csv/"
for level in 0 4; do
    "$build/stembench" synth --out "$seeds/capture/deflate-$level.h5" --tokens 24 --heads 2 --kv-heads 1 --dim 8 \
        --sinks 1 --needles 0 --compress $level >/dev/null
done

found=0
for target in "$@"; do
    corpus=$build/fuzz-corpus/$target
    mkdir -p "$corpus"
    log=$build/fuzz-$target.log
    # A claimed size is asked of malloc before the file turns out to be shorter: memory counts once it is used.
    nice "$build/tests/fuzz_$target" -seed="${FUZZ_SEED:-1}" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=1024 \
        -malloc_limit_mb=1000000 -artifact_prefix="$build/found-$target-" -print_final_stats=1 \
        "$corpus" "$seeds/$target" >"$log" 2>&1 || {
        found=1
        grep -m1 'ERROR\|expected' "$log" || tail -n 3 "$log"
    }
    echo "fuzz_$target: $(sed -n 's/stat::number_of_executed_units: *//p' "$log") executions"
done
exit $found
