#!/usr/bin/env bash
# The program on a fake device: the same records as on the CPU, and a row with its reason for everything that fails.
# shellcheck disable=SC2016
# usage: test_device.sh PROGRAM FAKE    (FAKE: the program linked with fake_device.c)
set -u
program=$1
fake=$2
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp" || exit 1
unset CUDA_VISIBLE_DEVICES
passed=0 failed=0

check() { # NAME COMMAND...
    if "${@:2}" >check.txt 2>&1; then
        passed=$((passed + 1))
    else
        echo "FAIL $1"; head -4 check.txt; failed=$((failed + 1))
    fi
}
# run OUT FAILURES [OPTIONS]: on the fake device; its exit code is left in $code.
run() {
    STEMBENCH_FAKE=$2 "$fake" run good.yaml --backend cuda --out "$1" --threads 2 --quiet "${@:3}" >out.txt 2>err.txt
    code=$?
}
# Rows of a results.csv, named columns: $at["NAME"]. No field that is read, and none before it, holds a comma.
rows() { # DIR PROGRAM
    awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next } { '"$2"' }' "$1/results.csv"
}
# every DIR N CONDITION: N rows, each of which meets an awk condition.
every() {
    rows "$1" "n++; if (!($3)) { print; bad++ } } END { if (n != $2 || bad) { print n \" rows, \" bad + 0 \" bad\"; exit 1 }"
}
some() { # DIR CONDITION
    rows "$1" "n += ($2) } END { exit n == 0"
}

"$program" synth --out small.h5 --tokens 512 --heads 4 --kv-heads 2 --dim 32 --layers 2 >/dev/null || exit 1
cat >good.yaml <<YAML
name: good
data: small.h5
layers: [0, 1]
lengths: [300, 512]
block: 32
methods:
  - dense
  - uniform: {k: [2, 4], sinks: 1, window: 1}
  - stem: {k_start: [2, 4], mu: [1.0, 0.5], sinks: 1, window: 1}
  - stem: {variant: angelslim, k_start: 3, dense_layers: 1}
measure: {latency: {warmup: 1, min_samples: 4, min_time: 0, noise: 1, timeout: 1}}
YAML
n=32

# ---- as on the CPU -------------------------------------------------------------------------------------
"$program" run good.yaml --backend cpu --out cpu --threads 2 --quiet >/dev/null || exit 1
run same ""
check "a run on the device" test $code = 0
# All that is not time; backend, kernel (columns 12 and 13) and threads aside.
judged() {
    cut -d, -f1-11,15-35 "$1/results.csv"
}
check "the records are the CPU's" diff <(judged cpu) <(judged same)
check "backend and kernel are named" every same $n '$at["backend"] == "cuda" && $at["kernel"] == "cuda-fake"'
check "auto takes the device" "$fake" run good.yaml --out auto --quiet
check "auto took it" every auto $n '$at["backend"] == "cuda"'
check "auto with f32 takes the CPU" "$fake" run good.yaml --set dtype=f32 --out wide --quiet
check "auto took that" every wide $n '$at["backend"] == "cpu" && $at["status"] == "ok"'
STEMBENCH_FAKE=absent "$fake" run good.yaml --out none --quiet >/dev/null
check "auto without a device takes the CPU" every none $n '$at["backend"] == "cpu"'

# ---- baselines -----------------------------------------------------------------------------------------
check "two baselines, the faster counts" every same $n '$at["own_dense_ms"] > 0 && $at["cudnn_ms"] > 0 &&
    $at["dense_ms"] == ($at["own_dense_ms"] <= $at["cudnn_ms"] ? $at["own_dense_ms"] : $at["cudnn_ms"]) &&
    $at["dense_kernel"] == ($at["dense_ms"] == $at["own_dense_ms"] ? "cuda-fake" : "cudnn-9.19.0")'
run own no-cudnn
check "without cuDNN our own counts" every own $n \
    '$at["status"] == "ok" && $at["cudnn_ms"] == "" && $at["dense_ms"] == $at["own_dense_ms"] && $at["dense_kernel"] == "cuda-fake"'
check "the provenance names the device" "$program" plot same --quiet
check "in results.h5" grep -aq 'gpu_compute_capability: "9.0"' same/results.h5

# ---- what fails ----------------------------------------------------------------------------------------
run gone absent
check "no device" test $code = 4
check "no device: one line, the reason" grep -qx 'stembench: backend cuda: no CUDA device: the fake one is hidden' err.txt
check "no device: nothing written" test ! -e gone
for listed in 2 -1 "" GPU-0; do
    CUDA_VISIBLE_DEVICES=$listed run gone devices=2
    check "of two devices '$listed': none" test $code = 4
done
CUDA_VISIBLE_DEVICES=1,0 run second devices=2
check "of two devices the second" test $code = 0
run wide-cuda "" --set dtype=f32
check "f32 is unsupported" every wide-cuda $n '$at["status"] == "unsupported" && /bf16 and f16, not f32/'
# 300 tokens fit, 512 do not: 2 x (512 x (4 + 2 + 2) x 32 x 2) + outputs, in whole pages.
run small memory=550000
check "too little memory does not end the run" test $code = 0
check "what fits is computed" every small $n '$at["tokens"] == 512 || $at["status"] == "ok"'
check "what does not fit is a row" every small $n \
    '$at["tokens"] == 300 || ($at["status"] == "unsupported" && $at["reason"] ~ /bytes for .* do not fit/)'
# A shape attends 8 times for fidelity, and 10 contenders 2 and 4 times.
run lost fail=100
check "a device that fails does not end the run" test $code = 0
check "cells before it are there" some lost '$at["status"] == "ok"'
check "cells after it have failed" some lost '$at["status"] == "failed" && $at["reason"] ~ /fell off the bus/'
check "and nothing else" every lost $n '$at["status"] == "ok" || $at["reason"] ~ /fell off the bus/'
run lost "" --fresh
check "started afresh it is computed" every lost $n '$at["status"] == "ok"'
for failure in overrun:'bytes past the end of o' skip:'row|finite' flaky:'output of head 0 changed' \
    stale:'output of head . changed'; do
    run "${failure%%:*}" "${failure%%:*}"
    check "${failure%%:*} is caught" every "${failure%%:*}" $n \
        "\$at[\"status\"] == \"failed\" && \$0 ~ /${failure#*:}/"
done

# ---- throttling ----------------------------------------------------------------------------------------
run hot throttle=3
check "throttled samples are discarded" every hot $n '$at["status"] == "ok" && $at["samples"] >= 4'
check "and counted" some hot '$at["throttled"] > 0'
check "else there are none" every same $n '$at["throttled"] == 0'
run melting throttle=1 --set measure.latency.timeout=0.05 --set layers='[0]' --set lengths='[300]'
check "a device that is always throttled has no times" every melting 8 \
    '$at["status"] == "ok" && $at["samples"] == 0 && $at["total_ms"] == "" && $at["timing"] == "throttled" && $at["density"] > 0'

# ---- again ---------------------------------------------------------------------------------------------
run same ""
check "a second run computes nothing" grep -q "$n computed before" out.txt
slow=(--set measure.latency.min_time=0.1)
"$fake" run good.yaml --backend cuda --out cut --threads 2 "${slow[@]}" >/dev/null 2>&1 &
pid=$!
sleep 1
kill -INT $pid
wait $pid
check "a run is interrupted" test $? = 130
run cut "" "${slow[@]}"
check "an interrupted run continues" test $code = 0
check "to the same records" diff <(judged cpu) <(judged cut)
check "check says what the device needs" sh -c "'$fake' check good.yaml --backend cuda | grep -q 'device .* GiB free'"

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
