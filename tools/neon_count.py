#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tools/neon_count.py - instructions per weight of the NEON int4 GEMV kernels, for docs/kernels.md.

    tools/neon_count.py [FORMAT]        from the repository's root; default q4g32

Builds each kernel with aarch64-linux-gnu-gcc, runs it under qemu-aarch64 on 1024 and 2048 columns
with every executed address logged, and sorts the difference by what objdump says stands there: what
is left is the loop over columns alone."""
import collections
import pathlib
import re
import subprocess
import sys
import tempfile

ROWS, FORMAT = 32, sys.argv[1] if len(sys.argv) > 1 else "q4g32"
KERNELS = {"": [], "_dotprod": ["-march=armv8.2-a+dotprod"],
           "_i8mm": ["-march=armv8.2-a+dotprod+i8mm"]}
MAIN = """
#include "kernels/contract.h"
#include <stdlib.h>
ek_gemv_i8_fn KERNEL;
static _Alignas(64) unsigned char w[1 << 20];
static int8_t x[4096]; static float d[256], y[32]; static int32_t s[256];
int main(int argc, char **argv)
{
    const struct ek_gemv_i8_args a = {.w = w, .xq = x, .xd = d, .xs = s, .y = y, .n = 32,
                                      .k = (size_t)atoi(argv[argc - 1]), .m = 1, .ldy = 32};
    KERNEL(&a, 0, 32);
    return 0;
}
"""
CLASSES = ["loads", "nibbles", "products", "scales", "prefetch", "rest"]


def classify(op, args):
    vector = re.match(r"\{?[vq]\d", args) is not None
    if op.startswith("prf"):
        return "prefetch"
    if op in ("fcvtl", "fmul", "fmla", "scvtf", "fadd", "dup", "fmov"):
        return "products" if op == "dup" and ".2s" in args else "scales"
    if op in ("sdot", "usdot", "smull", "smull2", "addp", "sadalp"):
        return "products"
    if op in ("and", "ushr") and vector:
        return "nibbles"
    return "loads" if op.startswith("ld") and re.match(r"\{?[vqds]\d", args) else "rest"


def disassemble(elf, symbol):
    text = subprocess.run(["aarch64-linux-gnu-objdump", "-d", "--no-show-raw-insn", elf],
                          capture_output=True, text=True, check=True).stdout
    body = text.split(f"<{symbol}>:\n")[1].split("\n\n")[0]
    lines = re.findall(r"^\s*([0-9a-f]+):\t(\S+)[ \t]*(.*)$", body, re.M)
    return {int(at, 16): (op, args) for at, op, args in lines}


def executed(elf, code, columns):
    log = subprocess.run(["qemu-aarch64", "-cpu", "max", "-singlestep", "-d", "exec,nochain",
                          "-dfilter", f"{min(code):#x}..{max(code):#x}", elf, str(columns)],
                         capture_output=True, text=True, check=True).stderr
    return collections.Counter(int(a, 16) for a in re.findall(r"\[[0-9a-f]+/([0-9a-f]+)/", log))


def main():
    print("| kernel |", " | ".join(CLASSES), "| total |")
    print("|---|" + "--:|" * (len(CLASSES) + 1))
    with tempfile.TemporaryDirectory() as tmp:
        source, elf = pathlib.Path(tmp, "main.c"), str(pathlib.Path(tmp, "main"))
        source.write_text(MAIN)
        for variant, flags in KERNELS.items():
            symbol = f"ek_gemv_i8_{FORMAT}_neon{variant}"
            subprocess.run(["aarch64-linux-gnu-gcc", "-std=c11", "-O3", "-DNDEBUG", *flags,
                            "-static", "-ffp-contract=off", "-fno-math-errno", "-I.", "-Iinclude",
                            f"-DKERNEL={symbol}", str(source), f"kernels/neon/gemv_i8{variant}.c",
                            "-o", elf], check=True)
            code = disassemble(elf, symbol)
            few, many = executed(elf, code, 1024), executed(elf, code, 2048)
            count = collections.Counter()
            for at, times in many.items():
                count[classify(*code[at])] += times - few[at]
            cells = [f"{count[c] / (ROWS * 1024):.3f}" for c in CLASSES]
            print(f"| {symbol} |", " | ".join(cells), f"| {count.total() / (ROWS * 1024):.3f} |")


main()
