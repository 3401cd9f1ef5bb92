#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Trains a small Llama and its tokenizer from a text, on a CPU core, in an hour.

  train.py --tinystories ../shared/data/text/tinystories/tinystories.txt --out /tmp/story
  train.py --text book.txt --out /tmp/book --minutes 45

The result is a Hugging Face directory; `ek convert /tmp/story story --type q8` makes it ours.
docs/training.md explains the choices and the log.
"""

import argparse
import hashlib
import json
import math
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Iterator

import numpy as np
import safetensors.torch
import torch
import torch.nn.functional as F
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor

import tinystories
from llama import Llama, Shape

BOS, EOS = "<|begin_of_text|>", "<|end_of_text|>"
# Llama 3's: contractions, words with one character before them, 1-3 digits, punctuation, spaces.
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def arguments() -> argparse.Namespace:
    shape = Shape()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    text = parser.add_mutually_exclusive_group(required=True)
    text.add_argument("--text", metavar="FILE",
                      help="any UTF-8 text; lines <|endoftext|> separate documents")
    text.add_argument("--tinystories", metavar="FILE",
                      help="the lower-cased TinyStories file; capitals restored")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR",
                        help="directory that is written")
    pace = parser.add_argument_group("how long")
    pace.add_argument("--steps", type=int, default=2200, help="optimizer steps [%(default)s]")
    pace.add_argument("--minutes", type=float, default=60,
                      help="at most; a run that is behind learns at a faster falling rate and ends "
                      "in time, but is then not repeatable to the bit [%(default)s]")
    pace.add_argument("--resume", action="store_true", help="go on from OUT/checkpoint.pt")
    pace.add_argument("--threads", type=int, default=1, help="[%(default)s]")
    size = parser.add_argument_group("shape")
    for name in ("vocab", "hidden", "layers", "heads", "kv_heads", "ffn", "context"):
        size.add_argument("--" + name.replace("_", "-"), type=int, default=getattr(shape, name),
                          help="[%(default)s]")
    recipe = parser.add_argument_group("recipe")
    recipe.add_argument("--seed", type=int, default=1, help="[%(default)s]")
    recipe.add_argument("--batch", type=int, default=8, help="sequences a step [%(default)s]")
    recipe.add_argument("--lr", type=float, default=2e-3, help="highest rate [%(default)s]")
    recipe.add_argument("--warmup", type=float, default=0.03, help="share of the run [%(default)s]")
    recipe.add_argument("--weight-decay", type=float, default=0.1, help="[%(default)s]")
    recipe.add_argument("--dropout", type=float, default=0.1, help="[%(default)s]")
    recipe.add_argument("--heldout", type=float, default=0.05,
                        help="share of the text, its end, never trained on [%(default)s]")
    recipe.add_argument("--float32", action="store_true", help="no bfloat16 products")
    recipe.add_argument("--eval-every", type=int, default=200, metavar="STEPS",
                        help="held-out perplexity and a checkpoint [%(default)s]")
    return parser.parse_args()


# ---- text ----------------------------------------------------------------------------------


def documents(args: argparse.Namespace) -> tuple[list[str], list[str]]:
    """Documents to train on and held-out ones."""
    if args.tinystories:
        texts = tinystories.read(args.tinystories)
    else:
        whole = Path(args.text).read_text(encoding="utf-8")
        texts = [part.strip() for part in whole.split("<|endoftext|>") if part.strip()]
    if not texts:
        raise ValueError(f"{args.tinystories or args.text}: no text in it")
    if len(texts) == 1:  # one long text: its end is held out
        cut = int(len(texts[0]) * (1 - args.heldout))
        texts = [texts[0][:cut], texts[0][cut:]]
    sizes = np.cumsum([len(text) for text in texts])
    cut = int(np.searchsorted(sizes, sizes[-1] * (1 - args.heldout)))
    cut = min(max(cut, 1), len(texts) - 1)
    return texts[:cut], texts[cut:]


def train_tokenizer(texts: list[str], vocab: int) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab, special_tokens=[BOS, EOS], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS}:1 $B:1",
        special_tokens=[(BOS, tokenizer.token_to_id(BOS))],
    )
    return tokenizer


def encode(tokenizer: Tokenizer, texts: list[str]) -> list[np.ndarray]:
    """Each document as ids, between BOS and EOS."""
    eos = tokenizer.token_to_id(EOS)
    return [np.array([*e.ids, eos], dtype=np.int32) for e in tokenizer.encode_batch(texts)]


def batches(documents: list[np.ndarray], args: argparse.Namespace) -> Iterator[Tensor]:
    """Endless batches [batch][context + 1]: every epoch all documents in another order, one after
    the other. Depends on the seed only, so that a resumed run can skip what it has seen."""
    width, epoch = args.context + 1, 0
    left = np.empty(0, dtype=np.int32)
    while True:
        order = np.random.default_rng((args.seed, epoch)).permutation(len(documents))
        left = np.concatenate([left, *(documents[i] for i in order)])
        count = len(left) // (width * args.batch)
        for rows in left[: count * width * args.batch].reshape(count, args.batch, width):
            yield torch.from_numpy(rows.astype(np.int64))
        left = left[count * width * args.batch :]
        epoch += 1


# ---- held-out text -------------------------------------------------------------------------


@torch.no_grad()
def evaluate(model: Llama, stream: np.ndarray, dtype: torch.dtype) -> float:
    """Nats per token of a stream that is cut into contexts; every token but the first counts."""
    model.eval()
    context, total = model.shape.context, 0.0
    for begin in range(0, len(stream) - 1, context):
        part = torch.from_numpy(stream[begin : begin + context + 1].astype(np.int64))
        logits = model(part[None, :-1], dtype)[0].float()
        total += F.cross_entropy(logits, part[1:], reduction="sum").item()
    model.train()
    return total / (len(stream) - 1)


def bits_per_byte(nats: float, stream: np.ndarray, text_bytes: int) -> float:
    """A token's nats as bits per byte of text: comparable between tokenizers."""
    return nats * (len(stream) - 1) / math.log(2) / text_bytes


# ---- training ------------------------------------------------------------------------------


class Log:
    """JSON lines, in a file and on the terminal. Of a log that is resumed, what lies behind the
    checkpoint is dropped: it is done again."""

    def __init__(self, path: Path, checkpoint: int | None):
        kept = []
        if checkpoint is not None and path.exists():
            lines = path.read_text(encoding="utf-8").splitlines()
            kept = [line for line in lines if json.loads(line).get("step", 0) <= checkpoint]
        self.file = open(path, "w", encoding="utf-8")
        self.file.writelines(line + "\n" for line in kept)

    def write(self, **fields) -> None:
        short = {k: round(v, 6) if isinstance(v, float) else v for k, v in fields.items()}
        line = json.dumps(short)
        print(line, file=self.file, flush=True)
        print(line, flush=True)


class Clock:
    """Seconds on the wall and of this process's CPU time, over all the runs of a training."""

    def __init__(self, seconds: float = 0.0, cpu_seconds: float = 0.0):
        self.start = time.monotonic() - seconds
        self.cpu_start = time.process_time() - cpu_seconds

    def seconds(self) -> float:
        return time.monotonic() - self.start

    def fields(self) -> dict[str, float]:
        return {"seconds": self.seconds(), "cpu_seconds": time.process_time() - self.cpu_start}


class Window:
    """Loss and speed since the last log line."""

    def __init__(self) -> None:
        self.loss, self.steps, self.tokens, self.start = 0.0, 0, 0, time.monotonic()

    def add(self, loss: float, tokens: int) -> None:
        self.loss, self.steps, self.tokens = self.loss + loss, self.steps + 1, self.tokens + tokens

    def means(self) -> dict[str, float]:
        return {"loss": self.loss / self.steps,
                "tokens_per_second": self.tokens / (time.monotonic() - self.start)}


def make_optimizer(model: Llama, args: argparse.Namespace) -> torch.optim.AdamW:
    weights = [p for p in model.parameters() if p.dim() == 2]
    norms = [p for p in model.parameters() if p.dim() == 1]
    groups = [{"params": weights, "weight_decay": args.weight_decay},
              {"params": norms, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=args.lr, betas=(0.9, 0.98), fused=True)


def rate(progress: float, args: argparse.Namespace) -> float:
    """Learning rate: up in a line, down in a cosine to a fiftieth."""
    if progress < args.warmup:
        return args.lr * max(progress / args.warmup, 0.01)
    fall = 0.5 * (1 + math.cos(math.pi * (progress - args.warmup) / (1 - args.warmup)))
    return args.lr * (0.02 + 0.98 * fall)


def save_checkpoint(path: Path, model: Llama, optimizer: torch.optim.AdamW, **state) -> None:
    temporary = path.with_suffix(".part")
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(),
                "random": torch.get_rng_state(), **state}, temporary)
    os.replace(temporary, path)


def train(model: Llama, docs: list[np.ndarray], heldout: np.ndarray, heldout_bytes: int,
          args: argparse.Namespace, log: Log, state: dict | None) -> None:
    """Trains, from a checkpoint's state if there is one, to the end of the steps or minutes; the
    model ends with the weights that did best on the held-out text."""
    dtype = torch.float32 if args.float32 else torch.bfloat16
    optimizer, checkpoint = make_optimizer(model, args), args.out / "checkpoint.pt"
    step, best, best_weights, paced, clock = 0, math.inf, {}, "steps", Clock()
    if state:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"])
        step, best, best_weights = state["step"], state["best"], state["best_weights"]
        clock = Clock(state["seconds"], state.get("cpu_seconds", 0.0))
    source = batches(docs, args)
    for _ in range(step):
        next(source)
    window, progress = Window(), step / args.steps
    while progress < 1:
        batch = next(source)
        for group in optimizer.param_groups:
            group["lr"] = rate(progress, args)
        logits = model(batch[:, :-1], dtype).float()
        loss = F.cross_entropy(logits.view(-1, args.vocab), batch[:, 1:].reshape(-1))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        window.add(loss.item(), batch[:, 1:].numel())
        progress, spent = step / args.steps, clock.seconds() / (60 * args.minutes)
        if spent > max(progress, 0.1):  # the first steps are slow and say nothing
            progress, paced = spent, "minutes"
        if step % 50 == 0:
            log.write(step=step, **window.means(), rate=rate(progress, args), **clock.fields())
            window = Window()
        if step % args.eval_every == 0 or progress >= 1:
            nats = evaluate(model, heldout, dtype)
            log.write(step=step, heldout_ppl=math.exp(nats), heldout_loss=nats,
                      bits_per_byte=bits_per_byte(nats, heldout, heldout_bytes), paced_by=paced,
                      **clock.fields())
            if nats < best:
                best, best_weights = nats, {k: v.clone() for k, v in model.state_dict().items()}
            save_checkpoint(checkpoint, model, optimizer, step=step, best=best,
                            best_weights=best_weights, **clock.fields())
            window = Window()
    model.load_state_dict(best_weights)


# ---- the directory -------------------------------------------------------------------------


def write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def write_model(model: Llama, tokenizer: Tokenizer, out: Path) -> None:
    bos, eos = tokenizer.token_to_id(BOS), tokenizer.token_to_id(EOS)
    write_json(out / "config.json", model.config(bos, eos))
    write_json(out / "generation_config.json", {"bos_token_id": bos, "eos_token_id": eos})
    write_json(out / "tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": BOS, "eos_token": EOS,
        "add_bos_token": True, "model_max_length": model.shape.context,
        "clean_up_tokenization_spaces": False,
    })
    safetensors.torch.save_file(model.tensors(), out / "model.safetensors", {"format": "pt"})
    (out / "model.safetensors").chmod(0o644)  # the library makes it ours alone


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    state = torch.load(args.out / "checkpoint.pt", weights_only=True) if args.resume else None
    log = Log(args.out / "training.jsonl", state and state["step"])
    training, heldout = documents(args)
    tokenizer_path = args.out / "tokenizer.json"
    if args.resume:
        tokenizer = Tokenizer.from_file(str(tokenizer_path))
    else:
        tokenizer = train_tokenizer(training, args.vocab)
        tokenizer.save(str(tokenizer_path))
        (args.out / "heldout.txt").write_text("\n\n".join(heldout) + "\n", encoding="utf-8")
    args.vocab = tokenizer.get_vocab_size()
    docs, kept = encode(tokenizer, training), np.concatenate(encode(tokenizer, heldout))
    heldout_bytes = sum(len(text.encode()) for text in heldout)
    shape = Shape(**{name: getattr(args, name) for name in asdict(Shape()) if hasattr(args, name)})
    model = Llama(shape, args.dropout)
    log.write(run={k: str(v) if isinstance(v, Path) else v for k, v in vars(args).items()},
              parameters=sum(p.numel() for p in model.parameters()), torch=torch.__version__,
              text_sha256=hashlib.sha256("\0".join(training + heldout).encode()).hexdigest(),
              documents=len(docs), tokens=int(sum(map(len, docs))), heldout_tokens=len(kept),
              heldout_bytes=heldout_bytes)
    train(model, docs, kept, heldout_bytes, args, log, state)
    nats = evaluate(model, kept, torch.float32)
    log.write(final=True, heldout_ppl=math.exp(nats), heldout_loss=nats,
              bits_per_byte=bits_per_byte(nats, kept, heldout_bytes))
    write_model(model, tokenizer, args.out)


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError) as error:
        raise SystemExit(f"train.py: {error}") from error
