#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tools/quickstart.sh - from a fresh clone to the first figures and the first story: installs what is
# needed, builds, shows what the machine offers, times the main kernels against its limits, and runs the
# model of model/default.
set -euo pipefail
cd "$(dirname "$0")/.."

show() {
    echo
    echo "== $*"
    "$@"
}

tools/setup.sh build
echo "== building into build/release"
cmake --preset release >/dev/null
cmake --build --preset release -- --quiet
ek=build/release/tools/ek
show $ek info
echo
echo "(about a minute)"
show $ek bench --quick
show $ek run -m model/default -p "Once upon a time" -n 200 --seed 1
show $ek speed -m model/default -p 128 -n 64 -r 3
show $ek ppl -m model/default -f tests/fixtures/story.txt --ctx 256
