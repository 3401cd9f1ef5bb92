#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Logits of a model directory by Hugging Face transformers, to hold `ek logits` against.

  hf_logits.py MODEL --ids 1,2,3                     {"ids": [...], "logits": [[...], ...]}
  ek logits -m MODEL --ids 1,2,3 > ek.json
  hf_logits.py MODEL --compare ek.json               differences; exit 1 above --tolerance

MODEL is what transformers can read: a directory, or a GGUF file (they expand it). ek may have run
a conversion of it, with a tolerance to match.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

Array = np.ndarray


def logits_of(model: str, ids: list[int], dtype: str) -> Array:
    """[ids][vocab] in float64."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    place, file = Path(model), {}
    if place.suffix == ".gguf":
        place, file = place.parent, {"gguf_file": place.name}
    loaded = AutoModelForCausalLM.from_pretrained(
        place, dtype=getattr(torch, dtype), attn_implementation="eager", **file
    )
    vocab = loaded.config.vocab_size
    outside = [i for i in ids if not 0 <= i < vocab]
    if outside:
        raise SystemExit(f"hf_logits.py: {model}: id {outside[0]} is not below {vocab}")
    with torch.no_grad():
        return loaded.eval()(torch.tensor([ids])).logits[0].double().numpy()


def log_softmax(logits: Array) -> Array:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def compare(ours: Array, theirs: Array) -> dict[str, float]:
    """How far ours is from theirs (the reference)."""
    ours_log, theirs_log = log_softmax(ours), log_softmax(theirs)
    kl = (np.exp(theirs_log) * (theirs_log - ours_log)).sum(axis=-1)
    worst = np.abs(ours - theirs).max()
    return {
        "max_difference": float(worst),
        "of_spread": float(worst / theirs.std()),
        "mean_kl": float(kl.mean()),
        "max_kl": float(kl.max()),
        "same_top": float((ours.argmax(axis=-1) == theirs.argmax(axis=-1)).mean()),
    }


def read_rows(path: str) -> tuple[list[int], Array]:
    """ids and logits of a file in the shape above; null is NaN."""
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
        rows = np.array(content["logits"], dtype=np.float64)
        if rows.ndim != 2 or not 0 < len(rows) <= len(content["ids"]):
            raise ValueError("logits are no rows, or more than ids")
        return content["ids"], rows
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SystemExit(f"hf_logits.py: {path}: {error}") from error


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", metavar="MODEL")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--ids", metavar="1,2,3", type=lambda t: [int(i) for i in t.split(",")])
    what.add_argument("--compare", metavar="EK.JSON", help="output of `ek logits`, its --last too")
    parser.add_argument("--dtype", choices=("float32", "float64", "bfloat16"), default="float32",
                        help="transformers computes in it [%(default)s]")
    parser.add_argument("--tolerance", type=float, default=1e-3, metavar="SHARE",
                        help="largest difference allowed, as a share of the standard deviation of "
                        "all logits [%(default)s]")
    args = parser.parse_args()
    if args.ids:
        logits = logits_of(args.model, args.ids, args.dtype)
        rows = [[float(f"{value:.9g}") for value in row] for row in logits]
        print(json.dumps({"ids": args.ids, "logits": rows}))
        return 0
    ids, ours = read_rows(args.compare)
    theirs = logits_of(args.model, ids, args.dtype)[-len(ours):]
    if ours.shape != theirs.shape:
        raise SystemExit(f"hf_logits.py: {args.compare}: rows of {ours.shape[1]} logits, "
                         f"not {theirs.shape[1]}")
    found = compare(ours, theirs)
    print("\n".join(f"{name:16} {value:.4g}" for name, value in found.items()))
    good = found["of_spread"] <= args.tolerance  # false for NaN
    print("agrees" if good else f"differs by more than {args.tolerance:g} of the spread")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
