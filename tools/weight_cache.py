#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tools/weight_cache.py - a model twice as large as its memory: a synthetic one is decoded under a limit of
half its file, mapped and through --weight-cache, and what a token takes and reads from disk is printed.

    tools/weight_cache.py [--arch qwen2.5-7b] [--type q4] [--density 0.1] [--tokens 5] [--dir FOLDER]
                          [--no-limit]

Needs a control group for memory (v1 or v2) that it may make, and room for the file; about a minute. Where no
limit can be set, or with --no-limit, a disk of the same speed is simulated: mapped, each token is the first
of a process that finds nothing of the file in memory, as a file that is read in turn through half its size
is read anew; the weight cache reads past the page cache anyway.
Tokens must agree wherever thresholds are used, else it fails; times are only printed."""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

MIB = 1 << 20
ROOM = 128 * MIB  # of the limit, for the session, buffers of reads, the program


class Group:
    """A control group with a memory limit; None as its folder where there can be none."""

    def __init__(self, limit, wanted):
        v1, v2 = pathlib.Path("/sys/fs/cgroup/memory"), pathlib.Path("/sys/fs/cgroup")
        name = f"ek-weight-cache-{os.getpid()}"
        self.folder, self.why, self.version = None, None, None
        if not wanted:
            self.why = "--no-limit"
            return
        old = (v1 / "memory.limit_in_bytes").exists()
        made = (v1 if old else v2) / name
        try:
            made.mkdir()
            self.folder, self.version = made, 1 if old else 2
            (made / ("memory.limit_in_bytes" if old else "memory.max")).write_text(str(limit))
            if not old:
                (made / "memory.swap.max").write_text("0")
        except OSError as e:
            self.why = f"{e.strerror}: {e.filename}"
            self.close()

    def enter(self):
        if self.folder:
            (self.folder / "cgroup.procs").write_text(str(os.getpid()))

    def close(self):
        if self.folder:
            self.folder.rmdir()
        self.folder = None


def forget(path):
    """Drops a file from the page cache: what is there counts for whoever read it first."""
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


def run(group, words, weights):
    """(result of ek run --json, bytes that it read from disk)"""
    forget(weights)
    read, write = os.pipe()
    child = os.fork()
    if not child:
        group.enter()
        os.dup2(write, 1)
        os.execv(words[0], words)
    os.close(write)
    with os.fdopen(read) as f:
        text = f.read()
    _, status, used = os.wait4(child, 0)
    if status:
        sys.exit(f"weight_cache: {' '.join(words)} failed")
    return json.loads(text), used.ru_inblock * 512


def disk_rate(weights):
    """Bytes per second of direct reads of a megabyte."""
    import mmap, time
    fd, buffer = os.open(weights, os.O_RDONLY | os.O_DIRECT), mmap.mmap(-1, MIB)
    begin, count = time.monotonic(), 256
    for i in range(count):
        os.preadv(fd, [buffer], i * MIB)
    os.close(fd)
    return count * MIB / (time.monotonic() - begin)


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    p.add_argument("--arch", default="qwen2.5-7b")
    p.add_argument("--type", default="q4")
    p.add_argument("--density", default="0.1")
    p.add_argument("--tokens", type=int, default=5)
    p.add_argument("--dir")
    p.add_argument("--no-limit", action="store_true")
    p.add_argument("--ek", default="build/release/tools/ek")
    o = p.parse_args()
    root = pathlib.Path(__file__).resolve().parent.parent
    ek = str(pathlib.Path(o.ek).resolve())
    with tempfile.TemporaryDirectory(dir=o.dir) as folder:
        model, thresholds, text = (f"{folder}/{n}" for n in ("model", "thresholds.json", "text"))
        weights = f"{model}/model.safetensors"

        def quietly(*words):
            return subprocess.run([ek, *words], check=True, capture_output=True, text=True).stdout

        quietly("synth", "--arch", o.arch, "--type", o.type, "--neurons", "--tokenizer",
                str(root / "model/default"), model)
        pathlib.Path(text).write_text((root / "tests/fixtures/story.txt").read_text()[:400])
        quietly("calibrate", "-m", model, "-f", text, "--ctx", "64", "--chunks", "1", "--density",
                o.density, "--out", thresholds)
        tensors = json.loads(quietly("info", "-m", model, "--json"))["tensors"]
        tied = not any(t["name"] == "lm_head.weight" for t in tensors)
        dense = sum(t["bytes"] for t in tensors if ".mlp.neurons." not in t["name"] and
                    (tied or "embed_tokens" not in t["name"]))
        size = os.path.getsize(weights)
        limit = size // 2
        cache = (limit - dense - ROOM) // MIB
        print(f"{o.arch} {o.type}: {size / MIB:.0f} MiB, {dense / MIB:.0f} MiB of it read by every token; "
              f"limit {limit / MIB:.0f} MiB, neurons taken {float(o.density):.0%}")
        if cache < 1:
            sys.exit("weight_cache: unavailable: what every token reads does not fit into half the file")
        rate = disk_rate(weights)
        print(f"disk: {rate / 1e9:.2f} GB/s, reads of 1 MiB one after the other")
        group = Group(limit, not o.no_limit)
        base = [ek, "run", "-m", model, "-p", "Once upon", "--temp", "0", "-c", "256", "--no-eos", "--json"]
        ways = [("mapped", []), ("mapped, --sparse", ["--sparse", thresholds]),
                (f"--sparse --weight-cache {cache}", ["--sparse", thresholds, "--weight-cache", str(cache)])]
        print(f"memory limit by cgroup v{group.version}" if group.folder else
              f"memory limit: unavailable: {group.why}; simulated: mapped, every token finds nothing in memory")
        print("\n| weights | ms per token | MB from disk per token | x |")
        print("|---|--:|--:|--:|")
        ids, first = {}, None
        try:
            for name, more in ways:
                one, bytes_one = run(group, base + more + ["-n", "1"], weights)
                reply, bytes_all = run(group, base + more + ["-n", str(o.tokens)], weights)
                took, read = reply["decode_ms"] / (o.tokens - 1), max(bytes_all - bytes_one, 0) / (o.tokens - 1)
                if not group.folder and "--weight-cache" not in more:
                    cold = [one] + [run(group, base + more + ["-n", "1"], weights)[0] for _ in range(2)]
                    took, read = statistics.median(c["prefill_ms"] for c in cold), bytes_one
                first = first or took
                ids[name] = reply["ids"]
                print(f"| {name} | {took:.0f} | {read / 1e6:.0f} | {first / took:.1f} |",
                      flush=True)
        finally:
            group.close()
        if ids[ways[1][0]] != ids[ways[2][0]]:
            sys.exit("weight_cache: the tokens differ")
        print("\nthe same tokens with and without the cache")


if __name__ == "__main__":
    main()
