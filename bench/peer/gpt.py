"""Twin of models/gpt.hpp with learned positions: the same network under the same names."""

import torch
import torch.nn.functional as F
from torch import nn


class Adapter(nn.Module):
    def __init__(self, inputs, outputs, rank):
        super().__init__()
        self.lora_A = nn.Parameter(torch.empty(rank, inputs))
        self.lora_B = nn.Parameter(torch.empty(outputs, rank))

    def forward(self, x):
        return F.linear(F.linear(x, self.lora_A), self.lora_B)


class Adapted(nn.Linear):
    """With an adapter beside it, if it has a rank: y + (x A^T) B^T."""

    def __init__(self, inputs, outputs, rank):
        super().__init__(inputs, outputs)
        self.lora = nn.ModuleDict({"default": Adapter(inputs, outputs, rank)} if rank else {})

    def forward(self, x):
        y = super().forward(x)
        return y + self.lora["default"](x) if self.lora else y


class Attention(nn.Module):
    def __init__(self, width, heads, rank):
        super().__init__()
        self.heads = heads
        self.c_attn = Adapted(width, 3 * width, rank)
        self.c_proj = Adapted(width, width, rank)

    def forward(self, x):
        B, T, D = x.shape
        q, k, v = (
            part.view(B, T, self.heads, D // self.heads).transpose(1, 2)
            for part in self.c_attn(x).split(D, dim=2)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.c_proj(y.transpose(1, 2).contiguous().view(B, T, D))


class FeedForward(nn.Module):
    def __init__(self, width, rank):
        super().__init__()
        self.c_fc = Adapted(width, 4 * width, rank)
        self.c_proj = Adapted(4 * width, width, rank)

    def forward(self, x):
        return self.c_proj(F.gelu(self.c_fc(x), approximate="tanh"))


class Block(nn.Module):
    def __init__(self, width, heads, rank):
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads, rank)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = FeedForward(width, rank)

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class Gpt(nn.Module):
    def __init__(self, vocab, layers, heads, width, context, rank=0):
        super().__init__()
        self.wte = nn.Embedding(vocab, width)
        self.wpe = nn.Embedding(context, width)
        self.h = nn.ModuleList([Block(width, heads, rank) for _ in range(layers)])
        self.ln_f = nn.LayerNorm(width)
        if rank:
            for name, parameter in self.named_parameters():
                parameter.requires_grad_("lora_" in name)

    def forward(self, ids):
        x = self.wte(ids) + self.wpe.weight[: ids.shape[1]]
        for block in self.h:
            x = block(x)
        return F.linear(self.ln_f(x), self.wte.weight)
