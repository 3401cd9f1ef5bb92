#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tools/setup.sh [build|check] - installs what building (default) or all the checks need, on Debian 12
# or a system like it. Says what it installs; does nothing where all is there.
set -euo pipefail
cd "$(dirname "$0")/.."

build=(gcc g++ cmake ninja-build pkg-config libc6-dev libcpuinfo-dev libpthreadpool-dev
    libhwloc-dev libjansson-dev libpcre2-dev libutf8proc-dev libreadline-dev libbenchmark-dev libxnnpack-dev libcriterion-dev)
check=(clang clang-format clang-tidy shellcheck make binutils libbenchmark-tools python3 python3-numpy
    python3-scipy qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross)
packages=("${build[@]}")
[[ ${1:-build} == build ]] || packages+=("${check[@]}")

missing=()
for package in "${packages[@]}"; do
    dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed ||
        missing+=("$package")
done
if ((${#missing[@]})); then
    echo "== installing ${missing[*]}"
    as_root=()
    [[ $(id -u) == 0 ]] || as_root=(sudo)
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
[[ ${1:-build} == check ]] || exit 0

# Libraries of the aarch64 build, unpacked beside it: this system's own packages stay untouched.
sysroot=$PWD/build/sysroot-aarch64
arm=(libcpuinfo{0,-dev} libpthreadpool{0,-dev} libjansson{4,-dev} libpcre2-{8-0,dev} libutf8proc{2,-dev})
if [[ ! -e $sysroot/usr/include/utf8proc.h ]]; then
    echo "== fetching ${arm[*]} for aarch64 into build/sysroot-aarch64"
    apt=$PWD/build/apt-arm64
    rm -rf "$apt" "$sysroot"
    mkdir -p "$apt"/{lists,cache/archives}/partial "$sysroot"
    : >"$apt/status"
    options=(-qq -o APT::Architecture=arm64 -o APT::Architectures::=arm64 -o APT::Sandbox::User=root
        -o Dir::State="$apt" -o Dir::State::lists="$apt/lists" -o Dir::State::status="$apt/status"
        -o Dir::Cache="$apt/cache")
    apt-get "${options[@]}" update
    (cd "$apt" && apt-get "${options[@]}" download "${arm[@]}")
    for deb in "$apt"/*.deb; do dpkg -x "$deb" "$sysroot"; done
    rm -rf "$apt"
fi
