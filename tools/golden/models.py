# SPDX-License-Identifier: Apache-2.0
"""The tiny models: their configurations and random weights."""

import math
import zlib

import numpy as np

Array = np.ndarray


def base(model_type: str, shape: tuple[int, ...], **more) -> dict:
    """config.json of a shape (hidden, layers, heads, kv heads, head_dim, ffn, vocab)."""
    hidden, layers, heads, kv_heads, dim, ffn, vocab = shape
    name = {"llama": "Llama", "qwen2": "Qwen2", "qwen3": "Qwen3", "mistral": "Mistral"}[model_type]
    config = {
        "architectures": [name + "ForCausalLM"], "model_type": model_type, "hidden_size": hidden,
        "num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": kv_heads,
        "head_dim": dim, "intermediate_size": ffn, "vocab_size": vocab, "hidden_act": "silu",
        "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2,
        "torch_dtype": "bfloat16",
    }
    config.update(more)
    return {key: value for key, value in config.items() if value is not None}


# None takes a key out. What each is there for is said in tests/golden/README.md.
MODELS: dict[str, dict] = {
    "llama1": base("llama", (48, 1, 3, 3, None, 40, 67), num_key_value_heads=None,
                   rms_norm_eps=1e-6, rope_theta=None),
    "llama2": base("llama", (24, 1, 6, 2, 40, 36, 71)),
    "llama3": base("llama", (20, 1, 5, 1, 64, 32, 67), rope_theta=500000.0,
                   tie_word_embeddings=True, eos_token_id=[2, 5],
                   rope_scaling={"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                                 "high_freq_factor": 4.0, "original_max_position_embeddings": 32}),
    "llama-yarn": base("llama", (15, 1, 3, 1, 96, 44, 69),
                       rope_scaling={"rope_type": "yarn", "factor": 4.0,
                                     "original_max_position_embeddings": 32}),
    "llama-linear": base("llama", (12, 1, 3, 1, 128, 24, 67),
                         rope_scaling={"type": "linear", "factor": 2.5}),
    "llama-bias": base("llama", (21, 1, 3, 1, 64, 35, 67), attention_bias=True, mlp_bias=True),
    "qwen2": base("qwen2", (64, 1, 2, 1, None, 24, 67), rope_theta=1e6,
                  tie_word_embeddings=True, rms_norm_eps=1e-6),
    "qwen2-window": base("qwen2", (18, 2, 3, 1, 40, 34, 67), use_sliding_window=True,
                         sliding_window=9, max_window_layers=1,
                         rope_scaling={"type": "yarn", "factor": 2.0, "beta_fast": 4.0,
                                       "beta_slow": 1.0, "attention_factor": 1.2,
                                       "original_max_position_embeddings": 64}),
    "qwen3": base("qwen3", (20, 1, 5, 1, 64, 28, 73), rope_theta=None, rms_norm_eps=1e-6,
                  rope_parameters={"rope_type": "default", "rope_theta": 1e6}),
    "mistral": base("mistral", (12, 3, 6, 3, 40, 30, 67), sliding_window=13),
}
SHARDED = {"qwen2"}  # in two files with an index


def shapes(config: dict) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors, in the order in which they are drawn."""
    hidden, ffn, vocab = (config[k] for k in ("hidden_size", "intermediate_size", "vocab_size"))
    heads = config["num_attention_heads"]
    dim = config.get("head_dim", hidden // heads)
    q, kv = heads * dim, config.get("num_key_value_heads", heads) * dim
    kind = config["model_type"]
    qkv_bias = config.get("attention_bias", False) or kind == "qwen2"
    o_bias, mlp_bias = config.get("attention_bias", False), config.get("mlp_bias", False)
    result: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocab, hidden)}
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        result[at + "input_layernorm.weight"] = (hidden,)
        result[at + "post_attention_layernorm.weight"] = (hidden,)
        for part, rows, columns, bias in (
            ("self_attn.q_proj", q, hidden, qkv_bias), ("self_attn.k_proj", kv, hidden, qkv_bias),
            ("self_attn.v_proj", kv, hidden, qkv_bias), ("self_attn.o_proj", hidden, q, o_bias),
            ("mlp.gate_proj", ffn, hidden, mlp_bias), ("mlp.up_proj", ffn, hidden, mlp_bias),
            ("mlp.down_proj", hidden, ffn, mlp_bias),
        ):
            result[at + part + ".weight"] = (rows, columns)
            if bias:
                result[at + part + ".bias"] = (rows,)
        if kind == "qwen3":
            result[at + "self_attn.q_norm.weight"] = (dim,)
            result[at + "self_attn.k_norm.weight"] = (dim,)
    result["model.norm.weight"] = (hidden,)
    if not config.get("tie_word_embeddings"):
        result["lm_head.weight"] = (vocab, hidden)
    return result


def deviation(name: str, shape: tuple[int, ...], tied: bool) -> float:
    """Spread that keeps the stream near 1, attention decided and logits spread by about 2."""
    if len(shape) == 1:
        return 0.2
    if name == "model.embed_tokens.weight":
        return 2 / math.sqrt(shape[1]) if tied else 1.0
    if name == "lm_head.weight":
        return 2 / math.sqrt(shape[1])
    return (1.4 if "q_proj" in name or "k_proj" in name else 1.0) / math.sqrt(shape[1])


def to_bf16(values: Array) -> Array:
    """float32 values rounded to bf16's 8 bits, ties to even."""
    bits = values.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & np.uint32(0xFFFF0000)).view(np.float32)


def random_for(name: str) -> np.random.RandomState:
    """The generator whose stream NumPy promises never to change."""
    return np.random.RandomState(zlib.crc32(name.encode()))


def weights(model: str, config: dict) -> dict[str, Array]:
    """float32 values that bf16 holds exactly."""
    random, tied = random_for(model), config.get("tie_word_embeddings", False)
    result = {}
    for name, shape in shapes(config).items():
        drawn = random.standard_normal(shape) * deviation(name, shape, tied)
        result[name] = to_bf16(drawn + (1.0 if name.endswith("norm.weight") else 0.0))
    return result


def ids(model: str, config: dict, length: int) -> list[int]:
    random = random_for(model + " ids")
    return [1, *(int(i) for i in random.randint(0, config["vocab_size"], length - 1))]
