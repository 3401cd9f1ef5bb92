#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Fuzzes every reader of model files with libFuzzer, AddressSanitizer and
# UndefinedBehaviorSanitizer, one after the other.
#   tools/fuzz.sh [SECONDS] [TARGET...]     60 seconds each; targets as tests/fuzz_TARGET.c
# Needs clang and a release build (build/release) for the kernels. Inputs that were found stay in
# build/fuzz/corpus_TARGET; one that fails is printed and kept in build/fuzz: put it into
# tests/fuzz/TARGET, and CTest replays it.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
[ $# -gt 0 ] && shift
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
  for f in tests/fuzz_*.c; do
    name=${f#tests/fuzz_} name=${name%.c}
    [ "$name" = main ] || targets+=("$name")
  done
fi
lib=${EK_FUZZ_LIB:-build/release/libek.a}
[ -f "$lib" ] || { echo "tools/fuzz.sh: $lib: missing; build the preset release" >&2; exit 1; }

out=build/fuzz
mkdir -p "$out/objects"
# shellcheck disable=SC2054 # clang's own commas
flags=(-std=c11 -O1 -g -D_GNU_SOURCE -I. -Iinclude -fno-omit-frame-pointer
  -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all)
read -ra libraries <<< "$(pkg-config --libs jansson libpcre2-8 libutf8proc)"
objects=()
for f in model/*.c ops/formats.c ops/rope.c; do
  o=$out/objects/$(basename "${f%.c}").o
  if [ ! "$o" -nt "$f" ] || [ -n "$(find model include -name '*.h' -newer "$o" -print -quit)" ]; then
    clang "${flags[@]}" -c "$f" -o "$o" &
    [ "$(jobs -r | wc -l)" -lt "$(nproc)" ] || wait -n
  fi
  objects+=("$o")
done
wait
rm -f "$out/libmodel.a"
ar rcs "$out/libmodel.a" "${objects[@]}"

failed=0
for t in "${targets[@]}"; do
  clang "${flags[@]}" -fsanitize=fuzzer "tests/fuzz_$t.c" "$out/libmodel.a" "$lib" \
    "${libraries[@]}" -lcpuinfo -lm -o "$out/fuzz_$t"
  mkdir -p "$out/corpus_$t"
  echo "== $t, $seconds s"
  if ! "$out/fuzz_$t" -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=10 -max_len=65536 \
    -artifact_prefix="$out/$t-" -print_final_stats=1 "$out/corpus_$t" "tests/fuzz/$t" \
    > "$out/$t.log" 2>&1; then
    failed=1
    grep -E -A12 'ERROR|runtime error|SUMMARY|Test unit' "$out/$t.log" | head -40
  fi
  grep -E 'number_of_executed_units|new_units_added' "$out/$t.log" || true
done
exit $failed
