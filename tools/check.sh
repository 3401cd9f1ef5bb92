#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tools/check.sh [STEP...] - every test, in every way they are run; without names all steps, in this
# order:
#   style     clang-format, shellcheck, one SPDX line a file, tables of README.md
#   release   gcc, warnings as errors; all tests; forced ISA levels
#   package   what is installed: linking, symbols, headers, prefixes (tools/package.sh)
#   bench     ek bench: rows, JSON, a baseline, and a row that beats its roof
#   commands  the commands that run models, on model/default (tools/commands.sh)
#   fuzz      every reader of model files, a few seconds each (tools/fuzz.sh)
#   clang     clang, warnings as errors; all tests; clang-tidy
#   sanitize  all tests under AddressSanitizer and UndefinedBehaviorSanitizer
#   tsan      threads under ThreadSanitizer
#   qemu-x86  the check on older x86 CPUs: an instruction used without its flag would trap
#   aarch64   all tests that cross-compile, under qemu on three CPUs
# Prints one line a check and closes with their count.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

passed=0 failed=0
logs=build/check-logs
only=" $* "

# run NAME COMMAND...
run() {
    local name=$1 log=$logs/$1.log start=$SECONDS
    shift
    if "$@" >"$log" 2>&1; then
        echo "ok      $name ($((SECONDS - start)) s)"
        passed=$((passed + 1))
    else
        echo "FAILED  $name ($((SECONDS - start)) s); the end of $log:"
        tail -n 25 "$log" | sed 's/^/        /'
        failed=$((failed + 1))
        return 1
    fi
}

wanted() {
    [[ $only == "  " || $only == *" $1 "* ]]
}

sources() {
    git ls-files '*.c' '*.h' '*.cc'
}

build() { # preset, options
    cmake --preset "$@" -DEK_WERROR=ON >/dev/null && cmake --build --preset "$1" -- --quiet
}

spdx() {
    local without
    without=$(git ls-files | grep -Ev '(^LICENSE|\.(json|jsonl|svg|xml|png)|(fixtures|golden|fuzz|default)/.*|\.gitignore)$' |
        xargs grep -L 'SPDX-License-Identifier: Apache-2.0')
    [[ -z $without ]] || { echo "no SPDX line: $without" && return 1; }
}

tidy() {
    # Headers of kernels are read through the files that include them. One file a process: the
    # va_list check of clang-tidy 14 takes what it saw in one file for true of the next.
    git ls-files 'ops/*.c' 'model/*.c' 'tools/*.c' 'microbench/*.c' 'kernels/scalar/*.c' |
        xargs -P "$(nproc)" -n 1 clang-tidy -p build/clang --quiet 2>&1 |
        sed '/ warnings\? generated\.$/d'
}

# On a shared machine a neighbour may disturb one run, not two.
twice() {
    "$@" || "$@"
}

bench() {
    local ek=build/release/tools/ek out=$logs/bench
    local few=(--quick --memory 256 --threads 1 --filter 'gemv/q4g32/i8.*m:1')
    $ek bench --list --isa all --shapes all >"$out.list"
    grep -qx 'gemv/q4g32/i8/[a-z0-9_]*/n:14336/k:4096/m:1/t:2/cold' "$out.list" || return 1
    echo "== JSON for Google Benchmark's own tools"
    twice $ek bench "${few[@]}" --out "$out.json" || return 1
    grep -q '"roofline_pct": [0-9]' "$out.json" || return 1
    /usr/bin/python3 /usr/share/benchmark/compare.py --no-color benchmarks "$out.json" \
        "$out.json" || return 1
    echo "== a baseline four times as fast must fail the run, one four times as slow must not"
    local factor
    for factor in 0.25 4; do
        /usr/bin/python3 -c '
import json, sys
j = json.load(sys.stdin)
for b in j["benchmarks"]:
    b["real_time"] *= float(sys.argv[1])
json.dump(j, sys.stdout)' $factor <"$out.json" >"$out.$factor.json"
    done
    twice $ek bench "${few[@]}" --baseline "$out.4.json" --fail-above 10 || return 1
    ! $ek bench "${few[@]}" --baseline "$out.0.25.json" --fail-above 10 || return 1
    echo "== bytes counted double must fail the run"
    build/release/tests/bench_over || return 1
    echo "== options that make no sense"
    ! $ek bench --filter 'nothing is called this' && ! $ek bench --filter '(' &&
        ! $ek bench --isa avx3 && ! $ek bench --threads 0 && ! $ek bench --shapes none &&
        ! $ek bench --list --no-such-option && ! $ek bench --baseline README.md --quick --list x
}

# start NAME COMMAND...: in the background, as one emulated CPU keeps one core busy; then
# run NAME finish NAME
declare -A started
start() {
    local name=$1
    shift
    "$@" >"$logs/$name.out" 2>&1 &
    started[$name]=$!
}
finish() {
    local rc=0
    wait "${started[$1]}" || rc=$?
    cat "$logs/$1.out"
    return $rc
}

# All kinds of data went through the same kernels natively; here an instruction would trap.
old_cpu() { # cpu, kernels whose names hold this, what of EK_ISA the cpu has
    EK_CHECK_KINDS=1 EK_CHECK_ISA=$3 qemu-x86_64 -cpu "$1" build/release/tests/check "$2"
}

aarch64() { # cpu, what of EK_ISA it has, kinds of data: all once, on the CPU that has every kernel
    QEMU_CPU=$1 EK_CHECK_ISA=$2 EK_CHECK_KINDS=$3 ctest --preset aarch64
}

tools/setup.sh check || exit 1
mkdir -p "$logs"
# shellcheck disable=SC2046
if wanted style; then
    run clang-format clang-format --dry-run -Werror $(sources)
    run shellcheck shellcheck $(git ls-files '*.sh' .ci/run)
    run spdx spdx
    run readme tools/readme.py --check
fi
if wanted release && run build-release build release -DPython3_EXECUTABLE=/usr/bin/python3; then
    run test-release ctest --preset release -j "$(nproc)"
fi
if wanted package; then run package tools/package.sh build/release; fi
if wanted bench; then run bench bench; fi
if wanted commands; then run commands tools/commands.sh; fi
if wanted fuzz; then run fuzz tools/fuzz.sh 5; fi
if wanted clang && run build-clang build clang -DCMAKE_EXPORT_COMPILE_COMMANDS=ON; then
    run test-clang ctest --preset clang -j "$(nproc)"
    run clang-tidy tidy
fi
if wanted sanitize && run build-sanitize build debug-sanitize; then
    run test-sanitize ctest --preset debug-sanitize -j "$(nproc)"
fi
if wanted tsan && run build-tsan build tsan; then
    run test-tsan ctest --preset tsan -R '^threads'
fi
emulated=()
if wanted qemu-x86; then
    start qemu-nehalem old_cpu Nehalem "" scalar
    start qemu-haswell old_cpu Haswell _avx2 avx2,-avxvnni
    emulated+=(qemu-nehalem qemu-haswell)
fi
if wanted aarch64 && run build-aarch64 build aarch64; then
    start qemu-cortex-a57 aarch64 cortex-a57 neon,-dotprod,-i8mm 1
    start qemu-cortex-a76 aarch64 cortex-a76 neon,-i8mm 1
    start qemu-max aarch64 max neon 99
    emulated+=(qemu-cortex-a57 qemu-cortex-a76 qemu-max)
fi
for name in "${emulated[@]}"; do run "$name" finish "$name"; done

echo
echo "$passed passed, $failed failed"
[[ $failed == 0 && $passed -gt 0 ]]
