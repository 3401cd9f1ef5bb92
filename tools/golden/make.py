#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the golden fixtures: tiny random models and the logits they must give.

  make.py                 writes tests/golden
  make.py --check         makes them again elsewhere and compares
  make.py --only qwen3    one model (repeatable)

Logits are computed in float64 (reference.py) and held against Hugging Face transformers on the
way; they are stored as float32, which is good to 6e-8 relative.
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

import gguf_models
import models
import reference

Array = np.ndarray
HOME = Path(__file__).resolve().parents[2] / "tests" / "golden"
TOKENS = 37
# transformers computes norms and RoPE in float32 whatever the weights are.
AGREEMENT = 2e-5


def write_json(path: Path, content: object, indent: int | None = 2) -> None:
    path.write_text(json.dumps(content, indent=indent) + "\n", encoding="utf-8")


def write_tensors(out: Path, weights: dict[str, Array], sharded: bool) -> None:
    """model.safetensors, or two of them and their index."""
    tensors = {name: torch.from_numpy(w).to(torch.bfloat16) for name, w in weights.items()}
    if not sharded:
        safetensors.torch.save_file(tensors, out / "model.safetensors", {"format": "pt"})
        return
    names, where = list(tensors), {}
    for shard, part in enumerate((names[0::2], names[1::2]), start=1):
        file = f"model-{shard:05}-of-00002.safetensors"
        safetensors.torch.save_file({n: tensors[n] for n in part}, out / file, {"format": "pt"})
        where |= {name: file for name in part}
    size = sum(t.numel() * t.element_size() for t in tensors.values())
    write_json(out / "model.safetensors.index.json",
               {"metadata": {"total_size": size}, "weight_map": dict(sorted(where.items()))})


def transformers_logits(directory: Path, ids: list[int]) -> Array:
    """What Hugging Face says, in float64 as far as it goes."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(
        directory, dtype=torch.float64, attn_implementation="eager"
    )
    with torch.no_grad():
        return model.eval()(torch.tensor([ids])).logits[0].double().numpy()


def agree(name: str, ours: Array, theirs: Array) -> None:
    worst = np.abs(ours - theirs).max() / np.abs(ours).max()
    print(f"{name:14} logits spread {ours.std():.2f}, transformers differ by {worst:.1e}")
    if not worst < AGREEMENT:
        raise SystemExit(f"make.py: {name}: transformers and the reference differ by {worst:.1e}")


def write_answers(out: Path, ids: list[int], logits: Array) -> None:
    write_json(out / "ids.json", ids, indent=None)
    np.save(out / "logits.npy", logits.astype("<f4"))


def make_model(name: str, root: Path) -> None:
    config, out = models.MODELS[name], root / name
    weights, ids = models.weights(name, config), models.ids(name, config, TOKENS)
    write_json(out / "config.json", config)
    write_tensors(out, weights, name in models.SHARDED)
    logits = reference.forward(config, weights, ids)
    agree(name, logits, transformers_logits(out, ids))
    write_answers(out, ids, logits)


def make_gguf(name: str, root: Path) -> None:
    config, out = gguf_models.MODELS[name], root / name
    weights, raw = gguf_models.weights(name)
    gguf_models.write(out / "model.gguf", config, raw)
    ids = models.ids(name, config, TOKENS)
    logits = reference.forward(config, weights, ids)
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        write_json(directory / "config.json", config)
        tensors = {name: torch.from_numpy(w) for name, w in weights.items()}
        safetensors.torch.save_file(tensors, directory / "model.safetensors", {"format": "pt"})
        agree(name, logits, transformers_logits(directory, ids))
    write_answers(out, ids, logits)


def same(ours: Path, theirs: Path) -> bool:
    """Bytes; logits may differ by a rounding, since sums run in another order on another CPU."""
    if not theirs.exists():
        return False
    if ours.name != "logits.npy":
        return ours.read_bytes() == theirs.read_bytes()
    a, b = np.load(ours), np.load(theirs)
    alike = a.shape == b.shape and a.dtype == b.dtype
    return alike and bool(np.abs(a - b).max() <= 1e-6 * np.abs(b).max())


def compare(made: Path, stored: Path, names: list[str]) -> int:
    """Number of files that differ, each named."""
    wrong = 0
    files = {path.relative_to(made) for path in made.rglob("*") if path.is_file()}
    for name in names:
        files |= {p.relative_to(stored) for p in (stored / name).rglob("*") if p.is_file()}
    for file in sorted(files):
        if not (made / file).exists() or not same(made / file, stored / file):
            print(f"make.py: {stored / file}: differs from what is made now", file=sys.stderr)
            wrong += 1
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--only", action="append", metavar="MODEL")
    parser.add_argument("--out", type=Path, default=HOME, help="[%(default)s]")
    args = parser.parse_args()
    torch.set_num_threads(1)
    names = args.only or [*models.MODELS, *gguf_models.MODELS]
    with tempfile.TemporaryDirectory() as scratch:
        for name in names:
            (Path(scratch) / name).mkdir()
            make = make_gguf if name in gguf_models.MODELS else make_model
            make(name, Path(scratch))
        if args.check:
            return 1 if compare(Path(scratch), args.out, names) else 0
        for name in names:
            shutil.rmtree(args.out / name, ignore_errors=True)
            shutil.copytree(Path(scratch) / name, args.out / name, copy_function=shutil.copyfile)
    return 0


if __name__ == "__main__":
    sys.exit(main())
