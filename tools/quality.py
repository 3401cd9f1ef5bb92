#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tools/quality.py - what each format costs a model: converts it to each, and prints a Markdown table of
perplexity, and of divergence from the model as it is with float activations and an f32 cache.

    tools/quality.py MODEL TEXT [--ctx 512] [--chunks N] [--ek build/release/tools/ek]

docs/benchmarks.md holds its tables."""
import argparse
import json
import pathlib
import subprocess
import tempfile

# weights, cache, activations
ROWS = [("f32", "f32", "f32"), ("f32", "i8", "f32"), ("bf16", "f16", "f32"), ("f16", "f16", "f32"),
        ("q8", "f16", "f32"), ("q8", "f16", "auto"), ("q8", "i8", "auto"),
        ("q4:g32", "f16", "f32"), ("q4:g32", "f16", "auto"), ("q4:g32", "i8", "auto"),
        ("q4:g128", "f16", "f32"), ("q4:g128", "f16", "auto")]


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    p.add_argument("model")
    p.add_argument("text")
    p.add_argument("--ctx", default="512")
    p.add_argument("--chunks")
    p.add_argument("--ek", default="build/release/tools/ek")
    o = p.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)

        def run(*words):
            subprocess.run([o.ek, *words], check=True, stdout=subprocess.DEVNULL,
                           stderr=subprocess.PIPE if words[0] == "convert" else None)

        def ppl(weights, cache, act, *more):
            model = folder / weights.replace(":", "")
            if not model.exists():
                run("convert", o.model, str(model), "--type", weights)
            out = folder / "out.json"
            limit = ["--chunks", o.chunks] if o.chunks else []
            run("ppl", "-m", str(model), "-f", o.text, "--ctx", o.ctx, "--kv", cache, "--act", act,
                "--out", str(out), *limit, *more)
            return json.loads(out.read_text())

        base = folder / "base.kl"
        ppl("f32", "f32", "f32", "--kl-base-save", str(base))
        print("| weights | bytes | cache | activations | PPL | mean KLD | same top token |")
        print("|---|--:|---|---|--:|--:|--:|")
        for weights, cache, act in ROWS:
            j = ppl(weights, cache, act, "--kl-base", str(base))
            r, k = j["results"], j["results"]["kl"]
            print(f"| {weights} | {j['model']['weight_bytes']:,} | {cache} "
                  f"| {'8 bit' if act == 'auto' else 'f32'} | {r['ppl']:.4f} ± {r['ppl_error']:.4f} "
                  f"| {k['mean_kld']:.6f} | {100 * k['same_top_p']:.2f} % |", flush=True)


main()
