# SPDX-License-Identifier: Apache-2.0
"""The forward pass of Llama, Qwen2, Qwen3 and Mistral in float64 throughout, as plainly as it goes.

Hugging Face's models cast to float32 inside (norms, RoPE tables) whatever their weights are, so
they cannot say what is true to more than six digits; make.py holds this one against them to that.
"""

import math

import numpy as np

Array = np.ndarray


def rope_settings(config: dict) -> dict:
    """Scaling settings and theta, from either generation of config.json."""
    settings = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    settings.setdefault("rope_theta", config.get("rope_theta", 10000.0))
    settings["kind"] = settings.get("rope_type", settings.get("type", "default"))
    return settings


def head_dim(config: dict) -> int:
    return config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]


def yarn(frequency: Array, settings: dict, dim: int) -> tuple[Array, float]:
    """YaRN: slow pairs are interpolated, fast ones kept, a ramp between; and a factor on both."""
    factor, theta = settings["factor"], settings["rope_theta"]

    def pair(turns: float) -> float:
        span = settings["original_max_position_embeddings"] / (turns * 2 * math.pi)
        return dim * math.log(span) / (2 * math.log(theta))

    low = max(math.floor(pair(settings.get("beta_fast", 32))), 0)
    high = min(math.ceil(pair(settings.get("beta_slow", 1))), dim - 1)
    ramp = np.clip((np.arange(dim // 2) - low) / max(high - low, 0.001), 0, 1)
    attention = settings.get("attention_factor") or 0.1 * math.log(factor) + 1
    return frequency / factor * ramp + frequency * (1 - ramp), attention


def llama3(frequency: Array, settings: dict) -> Array:
    """Llama 3.1: by wavelength against the original context, with a blend between the bounds."""
    low, high = settings["low_freq_factor"], settings["high_freq_factor"]
    turns = settings["original_max_position_embeddings"] * frequency / (2 * math.pi)
    blend = np.clip((turns - low) / (high - low), 0, 1)
    return frequency * ((1 - blend) / settings["factor"] + blend)


def rope_tables(config: dict, length: int) -> tuple[Array, Array]:
    """cos and sin, [length][head_dim / 2]."""
    settings, dim = rope_settings(config), head_dim(config)
    frequency = settings["rope_theta"] ** (-np.arange(0, dim, 2, dtype=np.float64) / dim)
    scale = 1.0
    if settings["kind"] == "linear":
        frequency = frequency / settings["factor"]
    elif settings["kind"] == "llama3":
        frequency = llama3(frequency, settings)
    elif settings["kind"] == "yarn":
        frequency, scale = yarn(frequency, settings, dim)
    elif settings["kind"] != "default":
        raise ValueError(f"rope type {settings['kind']}")
    angles = np.outer(np.arange(length), frequency)
    return np.cos(angles) * scale, np.sin(angles) * scale


def rotate(x: Array, cos: Array, sin: Array) -> Array:
    """x is [length][heads][head_dim]; the halves of a head are its pairs."""
    a, b = np.split(x, 2, axis=-1)
    cos, sin = cos[:, None, :], sin[:, None, :]
    return np.concatenate((a * cos - b * sin, b * cos + a * sin), axis=-1)


def norm(x: Array, weight: Array, eps: float) -> Array:
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps) * weight


def window(config: dict, layer: int) -> int:
    """Tokens that a layer sees, itself included; 0: all."""
    size = config.get("sliding_window") or 0
    if config["model_type"] == "mistral":
        return size
    switched = config.get("use_sliding_window", False) and layer >= config["max_window_layers"]
    return size if switched else 0


def attend(q: Array, k: Array, v: Array, seen: int) -> Array:
    """Causal softmax attention; q [length][heads][dim], k and v with fewer heads."""
    length, heads, dim = q.shape
    distance = np.arange(length)[:, None] - np.arange(length)[None, :]
    hidden = (distance < 0) | ((distance >= seen) if seen else False)
    out = np.empty_like(q)
    for head in range(heads):
        shared = head // (heads // k.shape[1])
        scores = q[:, head] @ k[:, shared].T / math.sqrt(dim)
        scores[hidden] = -np.inf
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        out[:, head] = weights / weights.sum(axis=-1, keepdims=True) @ v[:, shared]
    return out.reshape(length, heads * dim)


def forward(config: dict, tensors: dict[str, Array], ids: list[int]) -> Array:
    """Logits [length][vocab] in float64."""
    weights = {name: tensor.astype(np.float64) for name, tensor in tensors.items()}
    eps, dim, length = config["rms_norm_eps"], head_dim(config), len(ids)
    cos, sin = rope_tables(config, length)

    def linear(x: Array, name: str) -> Array:
        return x @ weights[name + ".weight"].T + weights.get(name + ".bias", 0.0)

    x = weights["model.embed_tokens.weight"][ids]
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        h = norm(x, weights[at + "input_layernorm.weight"], eps)
        q, k, v = (
            linear(h, f"{at}self_attn.{part}_proj").reshape(length, -1, dim) for part in "qkv"
        )
        if at + "self_attn.q_norm.weight" in weights:
            q = norm(q, weights[at + "self_attn.q_norm.weight"], eps)
            k = norm(k, weights[at + "self_attn.k_norm.weight"], eps)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        x = x + linear(attend(q, k, v, window(config, layer)), at + "self_attn.o_proj")
        h = norm(x, weights[at + "post_attention_layernorm.weight"], eps)
        gate = linear(h, at + "mlp.gate_proj")
        gated = gate / (1 + np.exp(-gate)) * linear(h, at + "mlp.up_proj")
        x = x + linear(gated, at + "mlp.down_proj")
    x = norm(x, weights["model.norm.weight"], eps)
    tied = config.get("tie_word_embeddings", False)
    return linear(x, "model.embed_tokens" if tied else "lm_head")
