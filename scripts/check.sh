#!/usr/bin/env bash
# What can be checked about this tree, by name: each check's seconds, and the end of its log where it fails.
# usage: scripts/check.sh [NAME|^NAME]...     default: all; ^NAME leaves one out; --list names them
#
#   format             clang-format would change nothing
#   scripts            shellcheck finds nothing
#   gcc, clang         a build with each, warnings being errors; gcc runs all tests, clang the quick ones
#   headers-standalone each header compiles alone as C11, and as C++17 where it declares itself to C++
#   symbol-prefixes    each global symbol of libstembench.a begins with sb_
#   bare               a build without CUDA and MPI says so, runs, and holds nothing of them
#   sanitizers         the tests with AddressSanitizer (and leaks) and UBSan
#   fuzz-smoke         each fuzz target for FUZZ_SECONDS (10)
#   valgrind           single-threaded test programs under memcheck, at AVX2: it knows no AVX-512
set -u
cd "$(dirname "$0")/.." || exit 5
all=(format scripts gcc headers-standalone symbol-prefixes bare clang sanitizers fuzz-smoke valgrind)
out=build-check
jobs=$(nproc)
# Left out with clang and under sanitizers: these build or repeat what other tests drive.
repeats='planted|gate_quick|isa_|paper|experiment|examples|mpi|slurm'
slow="$repeats|field|golden|ceiling|properties|conformance|crash|nomem|plot"

skip() { # REASON: this check cannot be made here
    echo "$*"
    exit 77
}
need() { # COMMAND...
    local command
    for command; do
        command -v "$command" >/dev/null || skip "$command is not installed"
    done
}
build() { # NAME TARGET [OPTION]...: in build-check/NAME
    local dir=$out/$1 target=$2
    shift 2
    cmake -S . -B "$dir" "$@" && cmake --build "$dir" --target "$target" -j "$jobs"
}
some_tests() { # NAME [OPTION]...: the tests of build-check/NAME
    local dir=$out/$1
    shift
    ctest --test-dir "$dir" --output-on-failure --no-tests=error "$@"
}

check_format() {
    need clang-format
    ./scripts/format.sh --check
}

# SC1007 and SC1010 are `a= b=` and a folder named `done`.
check_scripts() {
    need shellcheck
    git ls-files -co --exclude-standard '*.sh' .ci/run | xargs shellcheck -S warning -e SC1007,SC1010
}

check_headers-standalone() {
    local header flags
    need cc c++ pkg-config
    flags="-I. -D_GNU_SOURCE $(pkg-config --cflags hdf5 yaml-0.1 2>/dev/null || pkg-config --cflags yaml-0.1) -isystem /usr/include/hdf5/serial"
    for header in $(git ls-files -co --exclude-standard 'harness/*.h' 'methods/*.h' ':!*/tests/*' ':!harness/mpi/*'); do
        # shellcheck disable=SC2086
        cc -std=c11 -Wall -Wextra -Werror -fsyntax-only $flags -x c "$header" || return
        grep -q 'extern "C"' "$header" || continue # the inside of one C file
        # shellcheck disable=SC2086
        c++ -std=c++17 -Wall -Wextra -Werror -fsyntax-only $flags -x c++ "$header" || return
    done
}

check_gcc() {
    need gcc
    CC=gcc ./scripts/test.sh -j "$jobs"
}

check_symbol-prefixes() {
    local foreign
    need nm
    build gcc stembench_lib -DCMAKE_C_COMPILER=gcc -DSTEMBENCH_CUDA=off -DSTEMBENCH_MPI=off || return
    foreign=$(nm -g --defined-only $out/gcc/libstembench.a | awk 'NF == 3 && $3 !~ /^sb_/ { print $3 }' | sort -u)
    [ -z "$foreign" ] || { echo "symbols without sb_:"; echo "$foreign"; return 1; }
}

check_bare() {
    build gcc stembench -DCMAKE_C_COMPILER=gcc -DSTEMBENCH_CUDA=off -DSTEMBENCH_MPI=off || return
    $out/gcc/stembench --version && $out/gcc/stembench methods >/dev/null || return
    grep -q 'cuda=off mpi=off' $out/gcc/generated/sb_version.h && ! ldd $out/gcc/stembench | grep -E 'mpi|cuda'
}

# Without the device's sources, which nvcc compiles with its own.
check_clang() {
    need clang
    build clang all -DCMAKE_C_COMPILER=clang -DSTEMBENCH_CUDA=off && some_tests clang -E "$slow"
}

# gcc here, which has the clones of hot functions that clang has not (methods/kernels/cpu/clones.h).
check_sanitizers() {
    need gcc
    build sanitizers all -DCMAKE_C_COMPILER=gcc -DSTEMBENCH_CUDA=off -DSTEMBENCH_SANITIZE=address,undefined \
        -DSTEMBENCH_WERROR=OFF && some_tests sanitizers -E "$repeats" -j "$jobs"
}

check_fuzz-smoke() {
    need clang
    build fuzz all -DCMAKE_C_COMPILER=clang -DSTEMBENCH_CUDA=off -DSTEMBENCH_FUZZ=ON -DSTEMBENCH_TESTS=OFF &&
        harness/tests/fuzz.sh $out/fuzz "${FUZZ_SECONDS:-10}"
}

check_valgrind() {
    local name
    need valgrind
    build gcc all -DCMAKE_C_COMPILER=gcc -DSTEMBENCH_CUDA=off -DSTEMBENCH_MPI=off || return
    for name in budget compare compare_report config config_errors config_files dataset dataset_bad evaluate gate \
        hostile_config match metrics params pattern problem reference report results stem synth yaml; do
        echo "test_$name"
        STEMBENCH_ISA_MAX=avx2 OMP_NUM_THREADS=1 valgrind -q --error-exitcode=99 --child-silent-after-fork=yes \
            --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite \
            "$out/gcc/tests/test_$name" || return
    done
}

# ---- what was asked for ------------------------------------------------------------------------------
[ "${1:-}" != --list ] || { printf '%s\n' "${all[@]}"; exit 0; }
asked=() without=" "
for word; do
    [[ " ${all[*]} " == *" ${word#^} "* ]] || { echo "check: no check '${word#^}'; expected one of: ${all[*]}" >&2; exit 2; }
    if [[ $word == ^* ]]; then without+="${word#^} "; else asked+=("$word"); fi
done
[ ${#asked[@]} -gt 0 ] || asked=("${all[@]}")

failed=()
mkdir -p "$out"
for name in "${asked[@]}"; do
    [[ $without != *" $name "* ]] || continue
    log=$out/$name.log
    begin=$SECONDS
    ("check_$name") >"$log" 2>&1
    code=$?
    case $code in
        0) result=ok reason= ;;
        77) result=skipped reason=$(tail -1 "$log") ;;
        *) result=FAILED reason=$log failed+=("$name") ;;
    esac
    printf '%-8s %-18s %4d s  %s\n' "$result" "$name" $((SECONDS - begin)) "$reason"
    [ $result != FAILED ] || tail -n 30 "$log"
done
[ ${#failed[@]} = 0 ] || { echo "failed: ${failed[*]}"; exit 1; }
