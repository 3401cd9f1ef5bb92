# SPDX-License-Identifier: Apache-2.0
"""Tiny models as GGUF, laid out as llama.cpp's converter does, by the gguf package.

Their references are made from what the gguf package reads back from the quantised blocks, so that
they are as sharp as those of the other models.
"""

from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type

import models

Array = np.ndarray

MODELS: dict[str, dict] = {
    "gguf-llama": models.base("llama", (32, 1, 4, 2, 40, 64, 97)),
    "gguf-qwen2": models.base("qwen2", (96, 1, 3, 1, None, 32, 288), rope_theta=1e6,
                              tie_word_embeddings=True, rms_norm_eps=1e-6),
    "gguf-kquant": models.base("llama", (256, 1, 2, 1, 32, 32, 67)),
}
# By part of the name; the first that fits. What is not here is F32.
TYPES: dict[str, dict[str, Type]] = {
    "gguf-llama": {
        "embed": Type.F16, "q_proj": Type.Q4_0, "k_proj": Type.Q8_0, "o_proj": Type.Q4_0,
        "gate": Type.Q4_0, "up": Type.Q8_0, "down": Type.Q4_0, "lm_head": Type.Q8_0,
    },
    "gguf-qwen2": {
        "bias": Type.F32, "embed": Type.Q8_0, "q_proj": Type.Q8_0, "k_proj": Type.Q4_0,
        "v_proj": Type.BF16, "o_proj": Type.Q8_0, "gate": Type.F16, "up": Type.Q4_0,
        "down": Type.Q8_0,
    },
    "gguf-kquant": {
        "embed": Type.Q6_K, "q_proj": Type.Q4_K, "k_proj": Type.Q5_K, "v_proj": Type.Q6_K,
        "o_proj": Type.Q5_0, "gate": Type.Q4_K, "up": Type.Q5_K, "down": Type.Q4_1,
        "lm_head": Type.Q4_K,
    },
}
# Types that the package reads but cannot make: where their f16 scales lie in a block, and how
# large beside the first one. The second is taken off (Q4_K, Q5_K) or added (Q4_1).
SCALES = {
    Type.Q4_K: ((0, 1.0), (2, 7.5)), Type.Q5_K: ((0, 1.0), (2, 15.5)), Type.Q6_K: ((208, 1.0),),
    Type.Q4_1: ((0, 1.0), (2, -7.5)), Type.Q5_0: ((0, 1.0),),
}
NAMES = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def type_of(name: str, types: dict[str, Type]) -> Type:
    return next((kind for part, kind in types.items() if part in name), Type.F32)


def gguf_name(name: str) -> str:
    stem, _, ending = name.rpartition(".")
    if stem.startswith("model.layers."):
        _, _, layer, part = stem.split(".", 3)
        return f"blk.{layer}.{NAMES[part]}.{ending}"
    return f"{NAMES[stem]}.{ending}"


def unpermute(tensor: Array, heads: int) -> Array:
    """Llama files have the rows of q and k so that RoPE's pairs are neighbours; this puts the
    halves of a head back after one another."""
    rows = tensor.shape[0]
    return tensor.reshape(heads, rows // heads // 2, 2, -1).swapaxes(1, 2).reshape(tensor.shape)


# ---- weights -------------------------------------------------------------------------------


def random_blocks(kind: Type, shape: tuple[int, int], spread: float,
                  random: np.random.RandomState) -> Array:
    """Rows of any bits, with scales that spread the values by about as much as wanted."""
    block, size = gguf.GGML_QUANT_SIZES[kind]
    raw = random.randint(0, 256, (shape[0] * shape[1] // block, size)).astype(np.uint8)
    relative = random.uniform(0.7, 1.3, len(raw))

    def with_scale(scale: float) -> Array:
        for offset, share in SCALES[kind]:
            halves = (relative * scale * share).astype(np.float16)[:, None]
            raw[:, offset : offset + 2] = halves.view(np.uint8)
        return raw.reshape(shape[0], -1)

    unit = gguf.quants.dequantize(with_scale(1.0), kind).std()
    return with_scale(spread / unit)


def weights(model: str) -> tuple[dict[str, Array], dict[str, tuple[Array, Type]]]:
    """Float values by their Hugging Face names, and the file's tensors by their GGUF names."""
    config, random = MODELS[model], models.random_for(model)
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    permuted = {"q_proj.weight": heads, "k_proj.weight": kv_heads}
    if config["model_type"] != "llama":
        permuted = {}
    floats, raw = {}, {}
    for name, shape in models.shapes(config).items():
        kind = type_of(name, TYPES[model])
        spread = models.deviation(name, shape, config["tie_word_embeddings"])
        if kind in SCALES:
            data = random_blocks(kind, shape, spread, random)
        else:
            drawn = random.standard_normal(shape) * spread + name.endswith("norm.weight")
            data = gguf.quants.quantize(drawn.astype(np.float32), kind)
        values = gguf.quants.dequantize(data, kind).reshape(shape)
        for ending, count in permuted.items():
            values = unpermute(values, count) if name.endswith(ending) else values
        floats[name], raw[gguf_name(name)] = values, (data, kind)
    return floats, raw


# ---- the file ------------------------------------------------------------------------------


def byte_alphabet() -> list[str]:
    """GPT-2's printable stand-ins for the 256 bytes."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte if byte in kept else next(others)) for byte in range(256)]


def add_vocabulary(writer: gguf.GGUFWriter, config: dict) -> None:
    """SentencePiece for llama, byte-level BPE for qwen2, as small as they go."""
    size, kinds = config["vocab_size"], gguf.TokenType
    if config["model_type"] == "llama":
        tokens = ["<unk>", "<s>", "</s>", "\u2581"] + [chr(c) for c in range(33, 33 + size - 4)]
        types = [kinds.UNKNOWN, kinds.CONTROL, kinds.CONTROL] + [kinds.NORMAL] * (size - 3)
        writer.add_tokenizer_model("llama")
        writer.add_token_scores([-float(i) for i in range(size)])
    else:
        merges = ["t h", "th e", "\u0120 the", "a n", "an d", "\u0120 and", "i n", "in g", "e r",
                  "o u", "l l", "\u0120 a", "s t", "o n", "r e", "e n", "\u0120 w", "o w"]
        special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
        plain = byte_alphabet() + [merge.replace(" ", "") for merge in merges]
        plain += [f"[{i}]" for i in range(size - len(plain) - len(special))]
        tokens = special + plain
        types = [kinds.CONTROL] * len(special) + [kinds.NORMAL] * len(plain)
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("qwen2")
        writer.add_token_merges(merges)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])


def write(path: Path, config: dict, tensors: dict[str, tuple[Array, Type]]) -> None:
    """One GGUF file of raw tensors by their GGUF names."""
    kind = config["model_type"]
    dim = config.get("head_dim", config["hidden_size"] // config["num_attention_heads"])
    writer = gguf.GGUFWriter(path, kind)
    writer.add_name(path.stem)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(dim)
    writer.add_value_length(dim)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_rope_dimension_count(dim)
    writer.add_vocab_size(config["vocab_size"])
    add_vocabulary(writer, config)
    for name, (data, data_type) in tensors.items():
        writer.add_tensor(name, data, raw_dtype=data_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
