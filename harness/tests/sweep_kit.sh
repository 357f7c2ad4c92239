# shellcheck shell=bash disable=SC2034
# For the tests of sweeps that are shared, killed or stopped: sourced, with $program set. `usual` and `code` are the caller's.
: "${program:?}"
passed=0 failed=0

pass() { passed=$((passed + 1)); }
fail() { echo "FAIL $*"; failed=$((failed + 1)); }

# What of err.txt the program has said; a launcher may add to it.
said_itself() { cat err.txt; }
# expect NAME CODE PATTERN COMMAND...: the exit code; where that is not 0, one line of the program that matches, else
# anything printed that matches a PATTERN that is not empty.
expect() {
    local name=$1 code=$2 pattern=$3 got
    shift 3
    "$@" >out.txt 2>err.txt
    got=$?
    if [ $got != "$code" ]; then
        fail "$name: exit $got, expected $code: $(head -3 err.txt)"
    elif [ "$code" != 0 ] && { [ "$(said_itself | wc -l)" != 1 ] || ! said_itself | grep -qE -- "$pattern"; }; then
        fail "$name: expected one line with '$pattern': $(said_itself | head -3)"
    elif [ "$code" = 0 ] && [ -n "$pattern" ] && ! grep -qE -- "$pattern" err.txt out.txt; then
        fail "$name: nothing matches '$pattern': $(head -3 err.txt out.txt)"
    else
        pass
    fi
}

make_capture() { # small.h5, whose cells take milliseconds
    "$program" synth --out small.h5 --tokens 160 --heads 2 --kv-heads 1 --dim 16 --layers 2 --needles 2 >/dev/null || exit 1
}
# small.yaml, what one process makes of it in calm/, and how many cells it has.
make_calm() {
    make_capture
    cat >small.yaml <<'YAML'
name: small
data: small.h5
layers: [0, 1]
lengths: [96, 160]
block: 16
methods:
  - dense
  - uniform: {k: [1, 4], sinks: [0, 1], window: 1}
  - stem: {k_start: 3, mu: [1.0, 0.5], sinks: 1, window: 1}
  - streaming
match: {to: stem, by: density}
measure: {latency: false}
YAML
    "$program" run small.yaml --out calm --quiet >/dev/null || exit 1
    n_cells=$(($(wc -l <calm/results.csv) - 1))
}

# same_as_calm NAME DIR: the merged results are those of one process, and no part is left.
same_as_calm() {
    if ! cmp -s calm/results.csv "$2/results.csv"; then
        fail "$1: not the results of one process: $(diff calm/results.csv "$2/results.csv" 2>&1 | head -4 | cut -c1-200)"
    elif [ -e "$2/parts" ] || ! "$program" compare calm "$2" >/dev/null 2>&1; then
        fail "$1: parts are left, or another results.h5"
    else
        pass
    fi
}

# results.csv without what is measured by the clock.
untimed() { # DIR
    awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) timed[i] = $i ~ /_ms|^samples$|^speedup$|^conversion$|^timing$|^peak_gflops$/ }
        { for (i = 1; i <= NF; i++) if (!timed[i]) printf "%s,", $i; print "" }' "$1/results.csv"
}
# told_by_all DIR: the finished lines of all parts and of the merged results, sorted, without the number of the node.
told_by_all() {
    [ ! -e "$1" ] || find "$1" -name results.csv -print0 | xargs -0 -r sed -n '1!s/,[0-9]*$//p' | sort -u
}

seconds() { # COMMAND...: that it takes
    local begin=$EPOCHREALTIME
    "$@" >/dev/null 2>&1
    awk "BEGIN { print $EPOCHREALTIME - $begin }"
}
# A moment of the $usual seconds that something takes, to kill it then. They become fewer when it had ended before ($code
# is 0), more when not: what else the machine does must not decide how often a kill hits.
moment() { # leaves it in $pause; no subshell, in which RANDOM would be another
    local chance=$RANDOM
    pause=$(awk "BEGIN { print $chance / 32768 * $usual }")
}
after_moment() { usual=$(awk "BEGIN { print $usual * ($code == 0 ? 0.7 : 1.1) }"); }

summary() {
    echo "$passed passed, $failed failed"
    [ "$failed" = 0 ]
}
