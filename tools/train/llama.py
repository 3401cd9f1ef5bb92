# SPDX-License-Identifier: Apache-2.0
"""A Llama for training on a CPU core, saved under the names Hugging Face gives its tensors."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Shape:
    vocab: int = 2048
    hidden: int = 256
    layers: int = 5
    heads: int = 4
    kv_heads: int = 2
    ffn: int = 704
    context: int = 512
    theta: float = 10000.0
    eps: float = 1e-5

    def __post_init__(self) -> None:
        if self.hidden % (2 * self.heads):
            raise ValueError(f"hidden {self.hidden} is no even multiple of {self.heads} heads")
        if self.heads % self.kv_heads:
            raise ValueError(f"{self.heads} heads are no multiple of {self.kv_heads} kv heads")

    @property
    def head_dim(self) -> int:
        return self.hidden // self.heads


class Norm(nn.Module):
    def __init__(self, shape: Shape):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(shape.hidden))
        self.eps = shape.eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, (x.shape[-1],), self.weight.to(x.dtype), self.eps)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """RoPE with the halves of a head paired, as Hugging Face's Llama has it."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


def causal_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, rows: int = 128) -> Tensor:
    """Softmax attention by blocks of query rows: faster on a CPU than torch's own, whose backward
    pass does not use the matrix unit; and half of the square is never computed."""
    q = q * q.shape[-1] ** -0.5
    out = []
    for begin in range(0, q.shape[2], rows):
        end = min(begin + rows, q.shape[2])
        scores = torch.matmul(q[:, :, begin:end], k[:, :, :end].transpose(-1, -2))
        weights = F.softmax(scores + mask[begin:end, :end], dim=-1, dtype=q.dtype)
        out.append(torch.matmul(weights, v[:, :, :end]))
    return torch.cat(out, dim=2)


class Layer(nn.Module):
    def __init__(self, shape: Shape, dropout: float):
        super().__init__()
        self.shape, self.dropout = shape, dropout
        kv = shape.kv_heads * shape.head_dim
        self.parts = (shape.hidden, kv, kv)
        self.input_norm, self.post_norm = Norm(shape), Norm(shape)
        self.qkv = nn.Linear(shape.hidden, sum(self.parts), bias=False)
        self.o = nn.Linear(shape.hidden, shape.hidden, bias=False)
        self.gate_up = nn.Linear(shape.hidden, 2 * shape.ffn, bias=False)
        self.down = nn.Linear(shape.ffn, shape.hidden, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor) -> Tensor:
        batch, length, _ = x.shape
        q, k, v = (
            part.view(batch, length, -1, self.shape.head_dim).transpose(1, 2)
            for part in self.qkv(self.input_norm(x)).split(self.parts, dim=-1)
        )
        repeat = self.shape.heads // self.shape.kv_heads
        k = rotate(k, cos, sin).repeat_interleave(repeat, dim=1)
        mixed = causal_attention(rotate(q, cos, sin), k, v.repeat_interleave(repeat, dim=1), mask)
        mixed = self.o(mixed.transpose(1, 2).reshape(batch, length, -1))
        x = x + F.dropout(mixed, self.dropout, self.training)
        gate, up = self.gate_up(self.post_norm(x)).chunk(2, dim=-1)
        return x + F.dropout(self.down(F.silu(gate) * up), self.dropout, self.training)


class Llama(nn.Module):
    def __init__(self, shape: Shape, dropout: float = 0.0):
        super().__init__()
        self.shape = shape
        self.embed = nn.Embedding(shape.vocab, shape.hidden)
        self.layers = nn.ModuleList(Layer(shape, dropout) for _ in range(shape.layers))
        self.norm = Norm(shape)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                into_stream = name.endswith(("o.weight", "down.weight"))
                std = 0.03 / (2 * shape.layers) ** 0.5 if into_stream else 0.03
                nn.init.normal_(weight, std=std)
        half = torch.arange(0, shape.head_dim, 2, dtype=torch.float64) / shape.head_dim
        angles = torch.outer(torch.arange(shape.context, dtype=torch.float64), shape.theta**-half)
        mask = torch.full((shape.context, shape.context), float("-inf")).triu(1)
        for name, table in (("cos", angles.cos()), ("sin", angles.sin()), ("mask", mask)):
            self.register_buffer(name, table.float(), persistent=False)

    def forward(self, ids: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Logits [batch][length][vocab] of ids [batch][length]; products in dtype."""
        length = ids.shape[1]
        tables = [table[:length].to(dtype) for table in (self.cos, self.sin)]
        mask = self.mask[:length, :length].to(dtype)
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            x = self.embed(ids).to(dtype)
            for layer in self.layers:
                x = layer(x, *tables, mask)
            return F.linear(self.norm(x), self.embed.weight)

    def tensors(self) -> dict[str, Tensor]:
        """Weights by their Hugging Face names."""
        named = {
            "model.embed_tokens.weight": self.embed.weight,
            "model.norm.weight": self.norm.weight,
        }
        for index, layer in enumerate(self.layers):
            q, k, v = layer.qkv.weight.split(layer.parts)
            gate, up = layer.gate_up.weight.chunk(2)
            parts = {
                "self_attn.q_proj": q, "self_attn.k_proj": k, "self_attn.v_proj": v,
                "self_attn.o_proj": layer.o.weight, "mlp.gate_proj": gate, "mlp.up_proj": up,
                "mlp.down_proj": layer.down.weight, "input_layernorm": layer.input_norm.weight,
                "post_attention_layernorm": layer.post_norm.weight,
            }
            named |= {f"model.layers.{index}.{name}.weight": part for name, part in parts.items()}
        return {name: tensor.detach().float().contiguous() for name, tensor in named.items()}

    def config(self, bos: int, eos: int) -> dict:
        """config.json of this model."""
        shape = self.shape
        return {
            "architectures": ["LlamaForCausalLM"], "model_type": "llama",
            "vocab_size": shape.vocab, "hidden_size": shape.hidden,
            "num_hidden_layers": shape.layers, "num_attention_heads": shape.heads,
            "num_key_value_heads": shape.kv_heads, "head_dim": shape.head_dim,
            "intermediate_size": shape.ffn, "hidden_act": "silu",
            "max_position_embeddings": shape.context, "rope_theta": shape.theta,
            "rms_norm_eps": shape.eps, "tie_word_embeddings": True, "attention_bias": False,
            "mlp_bias": False, "bos_token_id": bos, "eos_token_id": eos, "torch_dtype": "float32",
        }
