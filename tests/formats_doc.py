# SPDX-License-Identifier: Apache-2.0
"""tests/formats_doc.py LIB - reads packed matrices by the formulas of docs/formats.md alone and
compares with what the library says of them. Nothing here comes from the library's own tables."""
import ctypes as C
import sys

import numpy as np

# name: (id, kind, bits per code, columns per group, columns per block, head bytes)
FORMATS = {
    "f32": (0, "float", 32, 0, 0, 0),
    "f16": (1, "float", 16, 0, 0, 0),
    "bf16": (2, "float", 16, 0, 0, 0),
    "q8g32": (3, "sym", 8, 32, 64, 64),
    "q4g32": (4, "sym", 4, 32, 64, 64),
    "q4g64": (5, "sym", 4, 64, 128, 64),
    "q4g128": (6, "sym", 4, 128, 256, 64),
    "q4g32m": (7, "min", 4, 32, 32, 64),
    "q4k": (8, "super", 4, 32, 256, 256),
}
SHAPES = [(1, 1), (15, 31), (16, 32), (17, 33), (3, 65), (33, 97), (5, 129), (18, 255), (16, 257),
          (31, 300), (2, 640), (20, 1153)]


class Weights(C.Structure):
    _fields_ = [("fmt", C.c_int), ("layout", C.c_int), ("n", C.c_size_t), ("k", C.c_size_t),
                ("data", C.c_void_p)]


class Reader:
    """The formulas, one method each; data is the matrix as bytes."""

    def __init__(self, name, n, k, data):
        self.id, self.kind, self.bits, self.group, self.block, self.head = FORMATS[name]
        self.n, self.k, self.data, self.name = n, k, data, name
        if self.kind == "float":
            self.total = n * k * self.bits // 8
            return
        pad = self.group if self.kind == "sym" else self.block
        self.kp = -(-k // pad) * pad
        self.panel = -(-self.kp // self.block) * self.head + 2 * self.bits * self.kp
        self.block_bytes = self.head + 2 * self.bits * self.block
        self.total = -(-n // 16) * self.panel

    def head_at(self, r, c):
        return r // 16 * self.panel + c // self.block * self.block_bytes

    def half(self, r, c, array):
        at = self.head_at(r, c) + 32 * array + 2 * (r % 16)
        return float(self.data[at:at + 2].view(np.float16)[0])

    def code(self, r, c):
        unit = 32 // self.bits
        at = (self.head_at(r, c) + self.head + c % self.block // unit * 64 + r % 16 * 4 + c % 4)
        byte = int(self.data[at])
        return byte if self.bits == 8 else byte >> (4 if c % 8 >= 4 else 0) & 15

    def scale_min(self, r, c):
        g = c % self.block // self.group
        if self.kind == "sym":
            return self.half(r, c, g), 0.0
        d, m = self.half(r, c, 0), self.half(r, c, 1)
        if self.kind == "min":
            return d, m
        at = self.head_at(r, c) + 64 + 4 * (r % 16)
        b = [int(self.data[at + 64 * (i // 4) + i % 4]) for i in range(12)]
        if g < 4:
            sd, sm = b[g] & 63, b[g + 4] & 63
        else:
            sd = b[g + 4] & 15 | b[g - 4] >> 6 << 4
            sm = b[g + 4] >> 4 | b[g] >> 6 << 4
        return d * sd, -m * sm

    def matrix(self):
        if self.kind == "float":
            raw = self.data.view(np.uint16 if self.bits == 16 else np.float32)
            if self.name == "f16":
                raw = raw.view(np.float16).astype(np.float32)
            elif self.name == "bf16":
                raw = (raw.astype(np.uint32) << 16).view(np.float32)
            return raw.reshape(self.n, self.k)
        zero = 1 << (self.bits - 1) if self.kind == "sym" else 0
        out = np.empty((self.n, self.k), np.float32)
        for r in range(self.n):
            for c in range(self.k):
                scale, minimum = self.scale_min(r, c)
                out[r, c] = scale * (self.code(r, c) - zero) + minimum
        return out


class Cache(C.Structure):
    _fields_ = [("struct_size", C.c_size_t), ("fmt", C.c_int), ("heads", C.c_size_t),
                ("dim", C.c_size_t), ("slots", C.c_size_t), ("data", C.c_void_p)]


def cache_numbers(name, data, at, size):
    raw = data[at:at + size]
    if name == "bf16":
        return (raw.view(np.uint16).astype(np.uint32) << 16).view(np.float32)[0]
    return raw.view({"f32": np.float32, "f16": np.float16}[name])[0].astype(np.float32)


def read_cache(name, heads, dim, slots, data):
    """Keys and values [slots][heads][dim] by the formulas of "Key/value caches"."""
    dp, sp, size = -(-dim // 16) * 16, -(-slots // 16) * 16, {"f32": 4, "i8": 1}.get(name, 2)
    part = dp * sp * size
    head = 2 * part + (4 * sp if name == "i8" else 0)
    assert head * heads == data.size, (name, heads, dim, slots)
    out = np.empty((2, slots, heads, dim), np.float32)
    for h in range(heads):
        for s in range(slots):
            for c in range(dim):
                if name != "i8":
                    k = (s // 16 * dp * 16 + c * 16 + s % 16) * size
                    v = (s * dp + c) * size
                    out[0, s, h, c] = cache_numbers(name, data, h * head + k, size)
                    out[1, s, h, c] = cache_numbers(name, data, h * head + part + v, size)
                    continue
                k = s // 16 * dp * 16 + c // 4 * 64 + s % 16 * 4 + c % 4
                v = s // 4 * dp * 4 + c * 4 + s % 4
                for i, q in enumerate([int(data[h * head + k]) - 128,
                                       int(data[h * head + part + v].view(np.int8))]):
                    d = h * head + 2 * part + i * 2 * sp + 2 * s
                    out[i, s, h, c] = data[d:d + 2].view(np.float16)[0].astype(np.float32) * q
    return out


def check_caches(lib, rng):
    """Any finite bytes are a cache: ek_kv_load must see in them what the formulas see."""
    for name, fmt in [("f32", 0), ("f16", 1), ("bf16", 2), ("i8", 9)]:
        for heads, dim, slots in [(1, 1, 1), (2, 16, 17), (3, 40, 35), (1, 128, 16)]:
            size = C.c_size_t()
            assert lib.ek_kv_bytes(fmt, C.c_size_t(heads), C.c_size_t(dim), C.c_size_t(slots),
                                   C.byref(size)) == 0
            raw = np.zeros(size.value + 64, np.uint8)
            data = raw[-raw.ctypes.data % 64:][:size.value]
            data[:] = rng.integers(0, 256, size.value, np.uint8) & 0xBB  # no exponent is all ones
            kv = Cache(C.sizeof(Cache), fmt, heads, dim, slots, data.ctypes.data)
            want = read_cache(name, heads, dim, slots, data)
            got = np.empty((2, heads, dim), np.float32)
            for s in range(slots):
                assert lib.ek_kv_load(C.byref(kv), C.c_size_t(s), C.c_void_p(got[0].ctypes.data),
                                      C.c_void_p(got[1].ctypes.data)) == 0
                assert np.array_equal(got, want[:, s]), (name, heads, dim, slots, s)
        print("ok cache", name)


def main():
    lib = C.CDLL(sys.argv[1])
    rng = np.random.default_rng(1)
    check_caches(lib, rng)
    for name, (fmt, kind, *_) in FORMATS.items():
        for n, k in SHAPES:
            w = rng.standard_normal((n, k)).astype(np.float32) + np.float32(0.3)
            size = C.c_size_t()
            assert lib.ek_weights_bytes(fmt, C.c_size_t(n), C.c_size_t(k), C.byref(size), None) == 0
            raw = np.full(size.value + 64, 0xAA, np.uint8)
            data = raw[-raw.ctypes.data % 64:][:size.value]
            reader = Reader(name, n, k, data)
            assert reader.total == size.value, (name, n, k, reader.total, size.value)
            assert lib.ek_weights_quantize(fmt, C.c_void_p(w.ctypes.data), C.c_size_t(n),
                                           C.c_size_t(k), C.c_void_p(data.ctypes.data), size) == 0
            want = np.empty((n, k), np.float32)
            view = Weights(fmt, 1 if kind == "float" else 2, n, k, data.ctypes.data)
            assert lib.ek_weights_dequantize(C.byref(view), C.c_size_t(0), C.c_size_t(n),
                                             want.ctypes.data_as(C.c_void_p)) == 0
            assert np.array_equal(reader.matrix(), want), (name, n, k)
            assert np.abs(want - w).max() < 0.5, (name, n, k)  # and they are the weights
        print("ok", name)


main()
