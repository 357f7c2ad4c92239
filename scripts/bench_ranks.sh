#!/usr/bin/env bash
# What handing cells out to MPI ranks costs: a fixed sweep of tiny cells, not timed, by 1, 2, 4 and 8 ranks on this machine.
# Of the ranks the first hands out. Two sizes of the sweep, in turns: starting, references and merging cancel in the
# difference, which is what one more cell costs.
# usage: scripts/bench_ranks.sh [OUT.csv]     PROGRAM (build/stembench), ROUNDS (5) and RANKS ("1 2 4 8") may be set
#
# OUT.csv: a line for each run, with what it says itself: microseconds of rank 0 for an item, microseconds until a rank
# that asked had one, and how busy those were that compute.
set -eu
cd "$(dirname "$0")/.."
program=$(realpath "${PROGRAM:-build/stembench}")
out=${1:+$(realpath -m "$1")}
export LC_ALL=C OMP_NUM_THREADS=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
# A file system in memory: syncing would be most of what is measured.
tmp=$(mktemp -d -p "$([ -d /dev/shm ] && echo /dev/shm || echo "${TMPDIR:-/tmp}")")
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
"$program" synth --out small.h5 --tokens 160 --heads 2 --kv-heads 1 --dim 16 --layers 2 --needles 2 >/dev/null
config() { # STEP
    cat <<YAML
name: tiny
data: small.h5
layers: [0, 1]
lengths: [96, 160]
block: 16
methods:
  - stem: {k_start: [2, 3, 4], mu: {range: [0.25, 1.0, $1]}, sinks: 1, window: 1, value: [none, paper]}
measure: {latency: false}
YAML
}
config 0.05 >few.yaml
config 0.005 >many.yaml
sweep() { # RANKS NAME
    rm -rf "$2"
    if [ "$1" = 1 ]; then
        "$program" run "$2.yaml" --out "$2"
    else
        mpirun --oversubscribe --bind-to none -n "$1" "$program" run "$2.yaml" --out "$2"
    fi >/dev/null 2>said.txt
}
sweep 1 few # the references
echo ranks,round,cells,seconds,rank0_us,answer_us,busy_percent >log.csv
for round in $(seq "${ROUNDS:-5}"); do
    for n in ${RANKS:-1 2 4 8}; do
        for name in few many; do
            begin=$EPOCHREALTIME
            sweep "$n" "$name"
            seconds=$(awk "BEGIN { print $EPOCHREALTIME - $begin }")
            said=$(sed -n 's/^handed out.*: \([0-9]*\) us of rank 0 each, answered in \([0-9]*\) us; .* \([0-9]*\) % busy$/\1,\2,\3/p' said.txt)
            echo "$n,$round,$(($(wc -l <"$name/results.csv") - 1)),$seconds,${said:-,,}" >>log.csv
        done
    done
done
[ -z "$out" ] || cp log.csv "$out"
awk -F, '
    function median(key,    i, j, x, n, list) {
        n = count[key]
        for (i = 1; i <= n; i++) {
            for (j = i - 1; j > 0 && list[j] > value[key, i]; j--) list[j + 1] = list[j]
            list[j + 1] = value[key, i]
        }
        return n % 2 ? list[(n + 1) / 2] : (list[n / 2] + list[n / 2 + 1]) / 2
    }
    function add(key, x) { value[key, ++count[key]] = x }
    NR > 1 && $2 $1 == last { add("cell" $1, 1e6 * ($4 - seconds) / ($3 - cells)); add("rank0" $1, $5); add("answer" $1, $6); add("busy" $1, $7) }
    NR > 1 && $2 $1 != last && !($1 in known) { known[$1]; order[++n] = $1 }
    { last = $2 $1; cells = $3; seconds = $4 }
    END {
        printf "%5s %21s %14s %13s %7s\n", "ranks", "one more cell, us", "of rank 0, us", "answer, us", "busy, %"
        for (i = 1; i <= n; i++)
            printf order[i] == 1 ? "%5d %21.0f\n" : "%5d %21.0f %14.0f %13.0f %7.0f\n", order[i], median("cell" order[i]),
                median("rank0" order[i]), median("answer" order[i]), median("busy" order[i])
    }' log.csv
