#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tools/quickstart.sh - from a fresh clone to the first figures: installs what is needed, builds, shows
# what the machine offers and times the main kernels against its limits.
set -euo pipefail
cd "$(dirname "$0")/.."

tools/setup.sh build
echo "== building into build/release"
cmake --preset release >/dev/null
cmake --build --preset release -- --quiet
echo "== build/release/tools/ek info"
build/release/tools/ek info
echo
echo "== build/release/tools/ek bench --quick   (about a minute)"
build/release/tools/ek bench --quick
