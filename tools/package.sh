#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tools/package.sh BUILD_DIR [CHECK...] - holds a finished build against what the package promises:
# what it installs can be linked in every documented way, exports the committed symbols and nothing
# else, lives beside a second copy, and keeps the layers and the instruction sets apart.
#
# Prints "ok NAME" or "FAILED NAME: reason" for each check (of those named, and install, which the
# others need); exit status 1 when one failed. Works in BUILD_DIR/package, where the builds of a
# parent project and of two prefixed copies are kept and reused. BUILD_DIR must have no EK_PREFIX.
set -euo pipefail
shopt -s nullglob

if [[ $# == 0 || ! -f $1/CMakeCache.txt ]]; then
    echo "usage: tools/package.sh BUILD_DIR [CHECK...]    (configured and built)" >&2
    exit 2
fi
build=$(cd "$1" && pwd)
source=$(cd "$(dirname "$0")/.." && pwd)
work=$build/package
root=$work/root
objects=$build/CMakeFiles/ek_kernels.dir
only=" ${*:2} "
quick=(-G Ninja -DCMAKE_BUILD_TYPE=None -DCMAKE_C_FLAGS=-O1) # builds that are only linked
failures=0
mkdir -p "$work"

fail() {
    echo "$*"
    exit 1
}

# check NAME COMMAND...: the reason of a failure is the last line of what the command printed.
check() {
    local name=$1 status log=$work/$1.log
    shift
    [[ $only == "  " || $name == install || $only == *" $name "* ]] || return 0
    set +e # in a condition, bash would let the command run on past its own failures
    (
        set -e
        "$@"
    ) >"$log" 2>&1
    status=$?
    set -e
    if [[ $status == 0 ]]; then
        echo "ok $name"
    else
        echo "FAILED $name: $(tail -n 1 "$log")"
        sed 's/^/    /' "$log" | tail -n 20
        failures=$((failures + 1))
    fi
}

# ---- install and link ---------------------------------------------------------------------------

# Where an install under $1 has put the libraries.
lib_dir() {
    dirname "$(dirname "$(find "$1" -name ek.pc)")"
}

install_into() { # root, build
    rm -rf "$1"
    DESTDIR=$1 cmake --install "$2" --prefix /usr
}

check_install() {
    install_into "$root" "$build"
    local lib file soname
    lib=$(lib_dir "$root")
    for file in libek.{a,so,so.0.1} cmake/ek/{ek-config,ek-config-version,Findcpuinfo}.cmake; do
        [[ -e $lib/$file ]] || fail "$lib/$file is missing"
    done
    soname=$(objdump -p "$lib/libek.so" | awk '$1 == "SONAME" {print $2}')
    [[ $soname == libek.so.0.1 ]] || fail "SONAME is '$soname', not libek.so.0.1"
    diff -r "$source/include/ek" "$root/usr/include/ek" || fail "not the headers of include/ek"
    if [[ -x $build/tools/ek ]]; then "$root/usr/bin/ek" --version; fi
    # The installed tree can be moved.
    ! grep -rlF -e "$source" -e "$build" "$lib"/{cmake,pkgconfig} || fail "names the build's paths"
}

check_link_cmake() { # shared or static
    local dir=$work/link-cmake
    rm -rf "$dir"
    cmake -S "$source/examples/link" -B "$dir" -DCMAKE_PREFIX_PATH="$root/usr"
    cmake --build "$dir" --target "link-$1"
    grep -q "^ek_DIR:PATH=$root/" "$dir/CMakeCache.txt" || fail "found another ek"
    run_link "$dir/link-$1" "$1"
}

check_link_make() { # shared or static
    local dir=$work/link-make lib
    lib=$(lib_dir "$root")
    mkdir -p "$dir"
    cp "$source"/examples/link/{Makefile,link.c} "$dir"
    PKG_CONFIG_PATH=$lib/pkgconfig make -B --no-print-directory -C "$dir" \
        CFLAGS="-O2 -Wall -Wextra -Werror" "link-$1"
    LD_LIBRARY_PATH=$lib run_link "$dir/link-$1" "$1"
}

# Runs it with the best kernels and with the reference; and holds it to what it claims to link.
run_link() { # program, shared or static
    local linked=static
    if objdump -p "$1" | grep 'NEEDED *libek\.so\.0\.1'; then linked=shared; fi
    [[ $linked == "$2" ]] || fail "$1 is linked $linked"
    "$1" || fail "$1 found a wrong product"
    EK_ISA=scalar "$1" || fail "$1 found a wrong product with EK_ISA=scalar"
}

# A user of the shared library need not install cpuinfo; one of the static library is told to.
check_without_cpuinfo() {
    local dir=$work/no-cpuinfo
    rm -rf "$dir"
    mkdir -p "$dir"
    cat >"$dir/CMakeLists.txt" <<'END'
cmake_minimum_required(VERSION 3.16)
project(user C)
find_package(ek CONFIG REQUIRED COMPONENTS shared)
if(NOT TARGET ek::ek OR TARGET ek::ek-static)
  message(FATAL_ERROR "without cpuinfo: ek::ek is missing or ek::ek-static is not")
endif()
find_package(ek CONFIG COMPONENTS static)
if(ek_FOUND OR NOT ek_NOT_FOUND_MESSAGE MATCHES cpuinfo)
  message(FATAL_ERROR "the static component is found, or what it lacks is not named")
endif()
END
    cmake -S "$dir" -B "$dir/build" -DCMAKE_PREFIX_PATH="$root/usr" \
        -DCMAKE_DISABLE_FIND_PACKAGE_cpuinfo=ON || fail "find_package(ek) without cpuinfo is wrong"
}

check_subproject() {
    local dir=$work/subproject
    mkdir -p "$dir"
    cat >"$dir/CMakeLists.txt" <<END
cmake_minimum_required(VERSION 3.16)
project(parent C)
add_subdirectory("$source" edgekern)
find_package(Threads REQUIRED)
foreach(kind ek ek-static)
  add_executable(with-\${kind} "$source/examples/link/link.c")
  target_link_libraries(with-\${kind} PRIVATE ek::\${kind} Threads::Threads)
endforeach()
END
    cmake -S "$dir" -B "$dir/build" "${quick[@]}"
    cmake --build "$dir/build" --parallel 2
    run_link "$dir/build/with-ek" shared
    run_link "$dir/build/with-ek-static" static
    rm -rf "$dir/root"
    DESTDIR=$dir/root cmake --install "$dir/build"
    [[ ! -e $dir/root ]] || fail "a parent's install installs ek"
}

# ---- symbols ------------------------------------------------------------------------------------

public_symbols() {
    sed -n 's/^#define \(ek_[a-z0-9_]*\)  *EK_SYM(\1)$/\1/p' "$source/include/ek/symbols.h"
}

# Global symbols that files define; the ones that they take from elsewhere.
defined() {
    nm --defined-only --extern-only --format=posix "$@" | awk 'NF > 1 {print $1}' | sort -u
}
undefined() {
    nm --undefined-only --format=posix "$@" | awk 'NF > 1 {print $1}' | sort -u
}

check_symbols_shared() {
    [[ -n $(public_symbols) ]] || fail "no symbols found in include/ek/symbols.h"
    diff <(public_symbols | sort) <(defined --dynamic "$(lib_dir "$root")/libek.so") ||
        fail "libek.so exports (>) other than include/ek/symbols.h says (<)"
}

check_symbols_static() { # archive, prefix
    local bad
    [[ -n $(defined "$1") ]] || fail "$1 defines nothing"
    bad=$(defined "$1" | grep -v "^$2" || true)
    [[ -z $bad ]] || fail "$1: without the prefix $2: ${bad//$'\n'/ }"
}

# Kernel objects define kernels of their own ISA and nothing else.
check_symbols_kernels() {
    local ops fmts dir isa bad
    ops=$(sed -n 's/^EK_OP(\([a-z0-9_]*\),.*/\1/p' "$source/include/ek/ops.def" | paste -sd '|')
    fmts=$(sed -n 's/^EK_FMT(\([a-z0-9]*\),.*/\1/p' "$source/include/ek/formats.def" |
        paste -sd '|')
    for dir in "$objects"/kernels/*/; do
        isa=$(basename "$dir")
        bad=$(defined "$dir"*.o | grep -vE "^ek_($ops)_($fmts)_$isa(_[a-z0-9]+)*$" || true)
        [[ -z $bad ]] || fail "$dir: not its kernels: ${bad//$'\n'/ }"
    done
    [[ -n ${dir-} ]] || fail "no kernel objects in $build"
}

# ---- headers ------------------------------------------------------------------------------------

check_headers() {
    local header name cc
    for header in "$root"/usr/include/ek/*.h; do
        name=ek/$(basename "$header")
        for cc in {gcc,clang}" -std=c11 -xc" {g++,clang++}" -std=c++17 -xc++"; do
            printf '#include <%s>\nextern int not_empty;\n' "$name" |
                $cc -I"$root/usr/include" -Wall -Wextra -Wpedantic -Werror -fsyntax-only - ||
                fail "$name does not compile alone: $cc"
        done
    done
    [[ -n ${header-} ]] || fail "no headers installed"
}

# ---- two copies in one program ------------------------------------------------------------------

check_prefixes() {
    local dir=$work/prefixes warn="-std=c11 -Wall -Wextra -Werror" copy lib bare
    local archives=() users=()
    for copy in one two; do
        cmake -S "$source" -B "$dir/$copy" "${quick[@]}" -DEK_PREFIX="${copy}_" \
            -DEK_BUILD_TOOLS=OFF -DEK_BUILD_TESTS=OFF
        cmake --build "$dir/$copy" --parallel 2
        install_into "$dir/$copy-root" "$dir/$copy"
        lib=$(lib_dir "$dir/$copy-root")
        archives+=("$lib/libek.a")
        users+=("$dir/$copy.o")
        # shellcheck disable=SC2046,SC2086 # flags are words
        gcc $warn $(PKG_CONFIG_PATH=$lib/pkgconfig pkg-config --cflags ek) \
            -c "$source/tests/prefixes/copy.c" -o "$dir/$copy.o"
        # The CMake package carries the prefix too, or this does not link.
        cmake -S "$source/examples/link" -B "$dir/$copy-link" \
            -DCMAKE_PREFIX_PATH="$dir/$copy-root/usr"
        cmake --build "$dir/$copy-link"
        "$dir/$copy-link/link-static"
    done
    # shellcheck disable=SC2086
    gcc $warn "$source/tests/prefixes/main.c" "${users[@]}" "${archives[@]}" -lcpuinfo -lm \
        -o "$dir/prefixes"
    "$dir/prefixes" || fail "the program with two copies failed"
    check_symbols_static "${archives[0]}" one_ek_
    check_symbols_static "${archives[1]}" two_ek_
    bare=$(undefined "${archives[@]}" | grep '^ek_' || true)
    [[ -z $bare ]] || fail "used without a prefix: ${bare//$'\n'/ }"
}

# ---- layers -------------------------------------------------------------------------------------

# Every #include in the folder is one of the pattern's.
only_includes() { # folder, pattern
    local found bad
    found=$(cd "$source" && grep -rnE '^[[:space:]]*#[[:space:]]*include' "$1") ||
        fail "$1 includes nothing"
    bad=$(grep -vE "include ($2)( |\$)" <<<"$found" || true)
    [[ -z $bad ]] || fail "$bad"
}

check_includes() {
    local file='[a-z0-9_]+\.(h|def)' isa
    only_includes include/ek "\"ek/$file\"|<std(def|int)\\.h>"
    for isa in scalar avx2 avx512 neon; do
        only_includes kernels/$isa "\"(ek|kernels|kernels/$isa|kernels/template)/$file\"|<$file>"
    done
    only_includes kernels "\"(ek|kernels|kernels/[a-z0-9]+)/$file\"|<$file>"
    only_includes ops "\"(ek|kernels|ops)/$file\"|<$file>|<sys/(auxv|syscall)\\.h>"
}

# Instructions of a level stay in its folder: no VEX or EVEX encoding, whose names begin with v, in
# what runs on any CPU; no 512-bit or mask register, nor one past 15, in what runs on AVX2.
check_registers() {
    no_instruction 'v|.*%[yz]mm' "$build"/CMakeFiles/ek_{static,shared}.dir/ops/*.o \
        "$objects"/kernels/scalar/*.o
    no_instruction '.*%(zmm|k[0-7]|[xy]mm(1[6-9]|2[0-9]|3[01]))' "$objects"/kernels/avx2/*.o
}

no_instruction() { # pattern, objects
    local object pattern=$1 bad
    shift
    [[ $# -gt 1 ]] || fail "no objects in $build"
    for object; do
        bad=$(objdump --disassemble --no-show-raw-insn "$object" |
            grep -m 1 -E "^ +[0-9a-f]+:[[:space:]]+($pattern)" || true)
        [[ -z $bad ]] || fail "${object#"$build"/}: $bad"
    done
}

check install check_install
for kind in shared static; do
    check "link_cmake_$kind" check_link_cmake "$kind"
    check "link_make_$kind" check_link_make "$kind"
done
check without_cpuinfo check_without_cpuinfo
check subproject check_subproject
check symbols_shared check_symbols_shared
check symbols_static check_symbols_static "$build/libek.a" ek_
check symbols_kernels check_symbols_kernels
check headers check_headers
check prefixes check_prefixes
check includes check_includes
if [[ $(uname -m) == x86_64 ]]; then check registers check_registers; fi

[[ $failures == 0 ]] || exit 1
