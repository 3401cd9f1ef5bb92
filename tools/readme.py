#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the parts of README.md that are made from something else: the table of kernels from the
registry, the table of figures and the chart from the JSON of `ek bench --shapes core --out FILE`.

    tools/readme.py                    the kernels
    tools/readme.py --bench FILE       also the figures and docs/bench.svg (needs matplotlib)
    tools/readme.py --check            changes nothing; exit status 1 when the kernels are out of date
"""
import argparse
import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
ISAS = ["scalar", "avx2", "avx512", "neon"]


def kernels_table():
    """op | formats | one column an ISA, with the variants beside the plain kernel."""
    rows = subprocess.run(
        ["cc", "-E", "-P", "-x", "c", "-DEK_ARCH_X86=1", "-DEK_ARCH_ARM64=1",
         "-DEK_KERNEL(op,fmt,isa,variant,prio,needs)=ROW op fmt isa [variant]",
         ROOT / "kernels/kernels.def"],
        check=True, capture_output=True, text=True).stdout
    kernels = {}  # op -> format -> isa -> variants
    for op, fmt, isa, variant in re.findall(r"ROW (\w+) (\w+) (\w+) \[ ?_?(\w*) ?\]", rows):
        kernels.setdefault(op, {}).setdefault(fmt, {}).setdefault(isa, []).append(variant)
    lines = ["| op | formats | " + " | ".join(ISAS) + " |", "|---" * (2 + len(ISAS)) + "|"]
    alike = {}  # formats and what there is -> ops
    for op, formats in kernels.items():
        same = {}  # what there is -> formats
        for fmt, isas in formats.items():
            same.setdefault(tuple(cell(isas.get(isa)) for isa in ISAS), []).append(fmt)
        for cells, fmts in same.items():
            alike.setdefault((" ".join(fmts), cells), []).append(op)
    for (fmts, cells), ops in alike.items():
        lines.append(f"| {' '.join(ops)} | {fmts} | {' | '.join(cells)} |")
    return "\n".join(lines)


def cell(variants):
    if not variants:
        return ""
    return ", ".join(["yes"] + ["+" + v for v in variants if v])


def medians(path):
    """Row name -> (ns, bytes/s, ops/s, share of the roof, its name)."""
    rows = {}
    for b in json.loads(pathlib.Path(path).read_text())["benchmarks"]:
        if b.get("aggregate_name") == "median":
            rows[b["run_name"]] = (b["real_time"], b.get("bytes_per_second", 0),
                                   b.get("flops", 0), b.get("roofline_pct", 0), b.get("label", ""))
    return rows


def ours(rows, pattern):
    """The one row of ours whose name matches."""
    found = [v for name, v in rows.items() if re.fullmatch(pattern, name) and "peer" not in name]
    return found[0] if len(found) == 1 else None


GEMV = [("q4g32", "i8"), ("q4g128", "i8"), ("q8g32", "i8"), ("bf16", "f32"), ("f16", "f32"),
        ("f32", "f32"), ("q4g32", "f32"), ("q4g128", "f32"), ("q8g32", "f32")]
SHAPES = [(4096, 4096), (14336, 4096), (4096, 14336), (128256, 2048)]


def bench_table(rows, context):
    lines = [f"{context['ek_cpu']}, {context['num_cpus']} cores; cold rows rotate "
             f"{int(context['ek_cold_bytes']) >> 20} MiB; medians of a run of "
             "`ek bench --shapes core`. Share of the roof measured beside each row, in %, with 1 / 2 "
             "threads:", "",
             "| GEMV, m = 1 | activations | " + " | ".join(f"{n}×{k}" for n, k in SHAPES) + " |",
             "|---|---" + "|--:" * len(SHAPES) + "|"]
    for fmt, act in GEMV:
        cells = []
        for n, k in SHAPES:
            pair = [ours(rows, rf"gemv/{fmt}/{act}/\w+/n:{n}/k:{k}/m:1/t:{t}/cold")
                    for t in (1, 2)]
            cells.append(" / ".join(f"{p[3]:.0f}" if p else "-" for p in pair))
        lines.append(f"| {fmt} | {act} | " + " | ".join(cells) + " |")
    lines += ["", "| GEMM, m = 512, 4096×4096 | activations | 1 thread, Gop/s | % of peak |",
              "|---|---|--:|--:|"]
    for fmt, act, scale in [("q4g32", "i8", "/per_token:1"), ("q4g128", "i8", "/per_token:1"),
                            ("q4g32", "i8", ""), ("q4g128", "i8", ""), ("bf16", "f32", ""),
                            ("f32", "f32", "")]:
        p = ours(rows, rf"gemm/{fmt}/{act}/\w+/n:4096/k:4096/m:512{scale}/t:1/hot")
        if p:
            what = act if act == "f32" else act + (", per token" if scale else ", per group")
            lines.append(f"| {fmt} | {what} | {p[2] / 1e9:.0f} | {p[3]:.0f} |")
    return "\n".join(lines)


def chart(rows, path):
    """Where the time of a GEMV goes: what memory needs, and the rest."""
    import matplotlib
    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "ek", "svg.fonttype": "none",
                                "font.size": 9})
    import matplotlib.pyplot as plt
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True, layout="constrained")
    names = [f"{fmt}, {act} act." for fmt, act in GEMV]
    for axis, threads in zip(axes, (1, 2)):
        found = [ours(rows, rf"gemv/{f}/{a}/\w+/n:4096/k:4096/m:1/t:{threads}/cold")
                 for f, a in GEMV]
        total = [p[0] / 1e3 if p else 0 for p in found]
        floor = [p[0] / 1e3 * min(p[3], 100) / 100 if p else 0 for p in found]
        axis.barh(names, floor, color="#4878a8", label="reading the weights at full bandwidth")
        axis.barh(names, [t - f for t, f in zip(total, floor)], left=floor, color="#d98c4a",
                  label="everything else")
        axis.set_title(f"{threads} thread{'s' if threads > 1 else ''}", fontsize=9)
        axis.set_xlabel("µs, 4096×4096 weights from memory")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].invert_yaxis()
    axes[0].legend(fontsize=8, frameon=False, loc="upper right")
    figure.savefig(path, metadata={"Date": None})


def replaced(text, name, body):
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    head, rest = text.split(begin)
    return f"{head}{begin}\n{body}\n{end}{rest.split(end)[1]}"


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", metavar="FILE")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    readme = ROOT / "README.md"
    old = readme.read_text()
    new = replaced(old, "kernels", kernels_table())
    if options.check:
        if new != old:
            sys.exit("README.md: the table of kernels is out of date; run tools/readme.py")
        return
    if options.bench:
        data = json.loads(pathlib.Path(options.bench).read_text())
        rows = medians(options.bench)
        new = replaced(new, "bench", bench_table(rows, data["context"]))
        chart(rows, ROOT / "docs/bench.svg")
    readme.write_text(new)


if __name__ == "__main__":
    main()
