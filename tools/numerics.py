#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tools/numerics.py - measures what docs/numerics.md states and prints its tables as Markdown.

    tools/numerics.py --lib build/release/libek.so [--model DIR --text FILE]

DIR is a Llama-like checkpoint: config.json, tokenizer.json, model.safetensors (f32).
Needs numpy; for --model also safetensors and tokenizers. EK_ISA chooses the kernels, as always."""
import argparse
import ctypes as C
import json
import math
import pathlib

import numpy as np

FORMATS = {"q8g32": 3, "q4g32": 4, "q4g64": 5, "q4g128": 6, "q4g32m": 7, "q4k": 8}
MODES = {"one scale per group": (1, 0), "one scale per token": (1, 1), "float": (2, 0)}


class Weights(C.Structure):
    _fields_ = [("fmt", C.c_int), ("layout", C.c_int), ("n", C.c_size_t), ("k", C.c_size_t),
                ("data", C.c_void_p)]


class Options(C.Structure):
    _fields_ = [("struct_size", C.c_size_t), ("activation", C.c_int), ("per_token", C.c_int)]


def pointer(a):
    return C.c_void_p(a.ctypes.data)


def aligned(size):
    raw = np.zeros(size + 64, np.uint8)
    at = -raw.ctypes.data % 64
    return raw[at:at + size]


class Library:
    def __init__(self, path):
        self.lib = C.CDLL(path)
        self.table = aligned(1 << 16)  # struct ek_kernels, whatever its size
        self.ok(self.lib.ek_kernels_default(pointer(self.table)))

    @staticmethod
    def ok(status):
        if status:
            raise SystemExit(f"libek: status {status}")

    def quantize(self, w, fmt):
        n, k = w.shape
        size = C.c_size_t()
        self.ok(self.lib.ek_weights_bytes(fmt, C.c_size_t(n), C.c_size_t(k), C.byref(size), None))
        data = aligned(size.value)
        self.ok(self.lib.ek_weights_quantize(fmt, pointer(w), C.c_size_t(n), C.c_size_t(k),
                                             pointer(data), size))
        view = Weights(fmt, 2, n, k, data.ctypes.data)
        view.keep = data
        return view

    def dequantize(self, view):
        out = np.empty((view.n, view.k), np.float32)
        self.ok(self.lib.ek_weights_dequantize(C.byref(view), C.c_size_t(0), C.c_size_t(view.n),
                                               pointer(out)))
        return out

    def linear(self, view, x, mode):
        x = np.ascontiguousarray(x, np.float32)
        m = x.shape[0]
        opt = Options(C.sizeof(Options), *MODES[mode])
        size = C.c_size_t()
        self.ok(self.lib.ek_linear_work_bytes(C.byref(view), C.c_size_t(m), None, C.byref(opt),
                                              C.byref(size)))
        work, y = aligned(size.value), np.empty((m, view.n), np.float32)
        self.ok(self.lib.ek_linear(pointer(self.table), None, C.byref(view), pointer(x),
                                   C.c_size_t(view.k), C.c_size_t(m), pointer(y),
                                   C.c_size_t(view.n), C.byref(opt), pointer(work), size))
        return y

    def act(self, kind, x):
        y = np.empty_like(x)
        self.ok(self.lib.ek_act(pointer(self.table), None, kind, pointer(x), None, pointer(y),
                                C.c_size_t(x.size)))
        return y


# ---- activation functions ------------------------------------------------------------------------

def exact_functions():
    erfc = np.vectorize(math.erfc, otypes=[float])
    root = math.sqrt(2 / math.pi)
    return {  # name: (kind, formula in double, bound in eps |f|)
        "exp": (6, np.exp, lambda x: 1),
        "sigmoid": (4, lambda x: 1 / (1 + np.exp(-x)), lambda x: 2),
        "tanh": (5, np.tanh, lambda x: 2),
        "SiLU": (1, lambda x: x / (1 + np.exp(-x)), lambda x: 3),
        "GELU, erf": (3, lambda x: 0.5 * x * erfc(-x / math.sqrt(2)), lambda x: 6),
        "GELU, tanh": (2, lambda x: x / (1 + np.exp(-2 * root * (x + 0.044715 * x ** 3))),
                       lambda x: 6 + 4 * root * np.abs(x + 0.044715 * x ** 3)),
    }


def every_nth_float(step):
    """Every step-th float, both signs, up to 256."""
    top = int(np.float32(256).view(np.uint32))
    x = np.arange(0, top, step, dtype=np.uint32).view(np.float32)
    return np.concatenate([x, -x])


def print_functions(ek):
    """Errors in ulp and in 2^-23 |f| where |f| >= 2^-100; of the bound, with its share for what is
    flushed to zero, everywhere."""
    print("| function | largest error, ulp | at | largest error / 2^-23 abs(f) | of its bound |")
    print("|---|--:|--:|--:|--:|")
    for name, (kind, formula, bound) in exact_functions().items():
        x = every_nth_float(2011 if "erf" in name else 211)
        with np.errstate(all="ignore"):
            y, f = ek.act(kind, x).astype(float), formula(x.astype(float))
            finite = np.abs(f) < 3.4e38
            x, y, f = x[finite], y[finite], f[finite]
            error, unit = np.abs(y - f), 2.0 ** -23 * np.abs(f)
            allowed = unit * bound(x.astype(float)) + (1 + np.abs(x)) * 2.0 ** -126
            ulp = np.spacing(np.abs(f).astype(np.float32)).astype(float)
            in_ulp = np.where(np.abs(f) >= 2.0 ** -100, error / ulp, 0)
            in_unit = np.where(np.abs(f) >= 2.0 ** -100, error / unit, 0)
        worst = in_ulp.argmax()
        print(f"| {name} | {in_ulp[worst]:.2f} | {x[worst]:.6g} | {in_unit.max():.2f} "
              f"| {(error / allowed).max():.0%} |")


# ---- a Llama, in numpy ---------------------------------------------------------------------------

class Llama:
    def __init__(self, directory):
        from safetensors.numpy import load_file
        directory = pathlib.Path(directory)
        self.name = directory.name
        self.config = json.loads((directory / "config.json").read_text())
        self.t = load_file(directory / "model.safetensors")
        if "lm_head.weight" not in self.t:
            self.t["lm_head.weight"] = self.t["model.embed_tokens.weight"]
        self.embed = self.t.get("model.embed_tokens.weight", self.t["lm_head.weight"])
        self.tokenizer = str(directory / "tokenizer.json")

    def norm(self, x, name):
        scale = 1 / np.sqrt((x * x).mean(-1, keepdims=True) + self.config["rms_norm_eps"])
        return x * scale * self.t[name + ".weight"]

    def rope(self, x):
        d = x.shape[-1]
        angle = np.outer(np.arange(x.shape[0]), self.config.get("rope_theta", 1e4)
                         ** (-np.arange(0, d, 2) / d))[:, None, :]
        a, b = x[..., :d // 2], x[..., d // 2:]
        return np.concatenate([a * np.cos(angle) - b * np.sin(angle),
                               b * np.cos(angle) + a * np.sin(angle)], -1)

    def attend(self, q, k, v):
        heads, kv = self.config["num_attention_heads"], self.config["num_key_value_heads"]
        m = q.shape[0]
        q, k, v = (x.reshape(m, -1, q.shape[1] // heads) for x in (q, k, v))
        q, k = self.rope(q), self.rope(k)
        k, v = (np.repeat(x, heads // kv, 1) for x in (k, v))
        score = np.einsum("qhd,khd->hqk", q, k) / math.sqrt(q.shape[-1])
        score += np.triu(np.full((m, m), -np.inf), 1)
        p = np.exp(score - score.max(-1, keepdims=True))
        return np.einsum("hqk,khd->qhd", p / p.sum(-1, keepdims=True), v).reshape(m, -1)

    def logits(self, ids, linear):
        """linear(site, name, x) multiplies by the tensor; everything else is done in double."""
        x = self.embed[ids].astype(float)
        for i in range(self.config["num_hidden_layers"]):
            at, mlp = f"model.layers.{i}.self_attn.", f"model.layers.{i}.mlp."
            h = self.norm(x, f"model.layers.{i}.input_layernorm")
            q, k, v = (linear("q, k, v", f"{at}{p}_proj", h) for p in "qkv")
            x = x + linear("o", at + "o_proj", self.attend(q, k, v))
            h = self.norm(x, f"model.layers.{i}.post_attention_layernorm")
            gate = linear("gate, up", mlp + "gate_proj", h)
            up = linear("gate, up", mlp + "up_proj", h)
            x = x + linear("down", mlp + "down_proj", gate / (1 + np.exp(-gate)) * up)
        return linear("head", "lm_head", self.norm(x, "model.norm"))

    def exact(self, site, name, x):
        return x @ self.t[name + ".weight"].astype(float).T


def windows(model, text, count):
    from tokenizers import Tokenizer
    ids = Tokenizer.from_file(model.tokenizer).encode(text[:200 * 1024]).ids
    size = min(model.config["max_position_embeddings"], 512)
    return [np.array(ids[i * size:(i + 1) * size]) for i in range(count)]


# ---- errors of products --------------------------------------------------------------------------

class Pool:
    """||y - ref|| / ||ref||, squares summed over everything that is added."""

    def __init__(self):
        self.error = self.size = 0.0

    def add(self, y, ref):
        self.error += float(((y - ref) ** 2).sum())
        self.size += float((ref ** 2).sum())

    def __str__(self):
        return f"{math.sqrt(self.error / self.size):.2e}"


def measure(ek, pairs):
    """pairs: [(w, x)]; {(format, mode or "weights"): Pool}."""
    pools = {}
    for w, x in pairs:
        x = x.astype(np.float32)
        want = x.astype(float) @ w.astype(float).T
        for name, fmt in FORMATS.items():
            view = ek.quantize(np.ascontiguousarray(w, np.float32), fmt)
            ref = x.astype(float) @ ek.dequantize(view).astype(float).T
            pools.setdefault((name, "weights"), Pool()).add(ref, want)
            for mode in MODES:
                pools.setdefault((name, mode), Pool()).add(ek.linear(view, x, mode), ref)
    return pools


def synthetic():
    rng = np.random.default_rng(1)
    n, k, m = 1024, 4096, 64
    w = (rng.standard_normal((n, k)) / math.sqrt(k)).astype(np.float32)
    x = rng.standard_normal((m, k)).astype(np.float32)
    outliers = rng.choice(k, 4, replace=False)
    big, small = x.copy(), w.copy()
    big[:, outliers] *= 100
    small[:, outliers] /= 100
    return {"random": [(w, x)], "random, 4 channels x 100": [(w, big)],
            "the same, their weights / 100": [(small, big)]}


def model_states(model, ids):
    """{site: [(weights, states)]} over all windows."""
    seen = {}

    def linear(site, name, x):
        seen.setdefault(site, {}).setdefault(name, []).append(x)
        return model.exact(site, name, x)
    for window in ids:
        model.logits(window, linear)
    return {f"{model.name}: {site}": [(model.t[n + ".weight"], np.concatenate(x))
                                      for n, x in tensors.items()]
            for site, tensors in seen.items()}


def print_products(results):
    for mode in ["weights", *MODES]:
        title = "weights alone" if mode == "weights" else f"activations: {mode}"
        print(f"\n| {title} |", " | ".join(FORMATS), "|")
        print("|---|" + "--:|" * len(FORMATS))
        for data, pools in results.items():
            print(f"| {data} |", " | ".join(str(pools[f, mode]) for f in FORMATS), "|")


def print_outliers(states):
    print("\n| states | largest / rms of a token, median | of a token, worst | "
          "of a group of 32, median |")
    print("|---|--:|--:|--:|")

    def ratio(x):
        return np.abs(x).max(-1) / np.sqrt((x * x).mean(-1) + 1e-30)
    for data, pairs in states.items():
        token = np.concatenate([ratio(x.astype(float)) for _, x in pairs])
        group = np.concatenate([ratio(x.astype(float).reshape(len(x), -1, 32)).ravel()
                                for _, x in pairs])
        print(f"| {data} | {np.median(token):.1f} | {token.max():.1f} | {np.median(group):.1f} |")


def print_agreement(ek, model, ids):
    """Whole model through ek_linear: does the most likely next token stay the same?"""
    print("\n| same next token as |", " | ".join(FORMATS), "|")
    print("|---|" + "--:|" * len(FORMATS))
    tops = {}
    for f, fmt in FORMATS.items():
        views = {n[:-7]: ek.quantize(w, fmt) for n, w in model.t.items() if w.ndim == 2}
        for mode in MODES:
            def linear(site, name, x, mode=mode):
                return ek.linear(views[name], x, mode).astype(float)
            tops[f, mode] = np.concatenate([model.logits(i, linear).argmax(-1) for i in ids])
    original = np.concatenate([model.logits(i, model.exact).argmax(-1) for i in ids])
    rows = [("float activations: one scale per group", "one scale per group", None),
            ("float activations: one scale per token", "one scale per token", None),
            ("original weights: float activations", "float", original),
            ("original weights: one scale per group", "one scale per group", original)]
    for title, mode, base in rows:
        cells = [(tops[f, mode] == (tops[f, "float"] if base is None else base)).mean()
                 for f in FORMATS]
        print(f"| {title} |", " | ".join(f"{c:.1%}" for c in cells), "|")
    print(f"\n{len(original)} tokens.")


def print_gemv_gemm(ek):
    (w, x), = synthetic()["random"]
    print("\n| gemv beside gemm |", " | ".join(FORMATS), "|")
    print("|---|" + "--:|" * len(FORMATS))
    for mode in MODES:
        cells = []
        for fmt in FORMATS.values():
            view, pool = ek.quantize(w, fmt), Pool()
            pool.add(np.concatenate([ek.linear(view, x[i:i + 1], mode) for i in range(len(x))]),
                     ek.linear(view, x, mode).astype(float))
            cells.append(str(pool))
        print(f"| {mode} |", " | ".join(cells), "|")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--lib", required=True)
    p.add_argument("--model", help="checkpoint directory")
    p.add_argument("--text", help="UTF-8 text to run through it")
    p.add_argument("--windows", type=int, default=4, help="of 512 tokens (default 4)")
    a = p.parse_args()
    ek = Library(a.lib)
    print_functions(ek)
    states, model = synthetic(), None
    if a.model and a.text:
        model = Llama(a.model)
        ids = windows(model, pathlib.Path(a.text).read_text(encoding="utf-8"), a.windows)
        states.update(model_states(model, ids))
    print_outliers(states)
    print_products({data: measure(ek, pairs) for data, pairs in states.items()})
    print_gemv_gemm(ek)
    if model:
        print_agreement(ek, model, ids)


if __name__ == "__main__":
    main()
