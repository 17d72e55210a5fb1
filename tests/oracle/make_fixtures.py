"""Writes fixtures/*.safetensors: what PyTorch computes for layers, losses, optimizers and schedules, in float64.

Run by hand with PyTorch installed (last: 2.13) when a case is added; oracle_test.cpp has a row of the same name. A case
"linear" of layers or losses holds linear/in.x, or ids.x for integers; param.weight and buffer.running_mean; out; grad.x
and grad.weight, the gradients of sum(cotangent * out); and buffers as they are after.running_mean. Given numbers are
multiples of 1/256, exact in every precision. Optimizers and schedules: see below.
"""
import json
import math
import random
import struct
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

torch.set_default_dtype(torch.float64)


class Fixture:
    """One file: tensors by name."""

    def __init__(self):
        self.tensors = {}

    def put(self, name, tensor, dtype="F64"):
        values = tensor.detach().flatten().tolist()
        data = struct.pack(f"<{len(values)}{dict(F64='d', F32='f', I64='q')[dtype]}", *values)
        self.tensors[name] = dtype, list(tensor.shape), data

    def write(self, path):
        # The format's order: larger types first, then by name.
        items = sorted(self.tensors.items(), key=lambda item: (["I64", "F64", "F32"].index(item[1][0]), item[0]))
        header, end = {}, 0
        for name, (dtype, shape, data) in items:
            header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + len(data)]}
            end += len(data)
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(data for _, (_, _, data) in items))


rng = random.Random()


def numbers(*shape, low=-2.0, high=2.0):
    """Random multiples of 1/256, no two alike, so that maxima are unique."""
    grid = range(int(low * 256), int(high * 256))
    return torch.tensor(rng.sample(grid, math.prod(shape)), dtype=torch.float64).reshape(shape) / 256


def ids(*shape, below):
    return torch.tensor([rng.randrange(below) for _ in range(math.prod(shape))]).reshape(shape)


# ---- layers and losses: one call each, and its gradients


def case(fixture, name, function, module=None, constants=(), **inputs):
    """`function`, by default the module, of the inputs in their order. They are tensors or functions that make them;
    those in `constants` get no gradient."""
    rng.seed(name)  # a new case does not change the others
    module = module or (function if isinstance(function, nn.Module) else nn.Module())
    state = [(part, p, "param") for part, p in module.named_parameters()]
    state += [(part, b, "buffer") for part, b in module.named_buffers() if part != "num_batches_tracked"]
    with torch.no_grad():
        for part, tensor, kind in state:
            low = 0.25 if part.endswith("var") else -1.0
            tensor.copy_(numbers(*tensor.shape, low=low, high=1.0))
            fixture.put(f"{name}/{kind}.{part}", tensor, "F32")
    inputs = {key: value() if callable(value) else value for key, value in inputs.items()}
    wanted = {part: tensor for part, tensor, kind in state if kind == "param"}
    for key, x in inputs.items():
        integer = not x.is_floating_point()
        fixture.put(f"{name}/{'ids' if integer else 'in'}.{key}", x, "I64" if integer else "F32")
        if not integer and key not in constants:
            wanted[key] = x.requires_grad_()
    out = function(*inputs.values())
    cotangent = numbers(*out.shape)
    gradients = torch.autograd.grad(out, list(wanted.values()), cotangent)
    fixture.put(f"{name}/cotangent", cotangent, "F32")
    fixture.put(f"{name}/out", out)
    for key, gradient in zip(wanted, gradients):
        fixture.put(f"{name}/grad.{key}", gradient)
    for part, tensor, kind in state:
        if kind == "buffer":
            fixture.put(f"{name}/after.{part}", tensor)


class Formula(nn.Module):
    """A layer that PyTorch lacks: parts by name, and a formula over them."""

    def __init__(self, formula, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self.formula = formula

    def forward(self, *inputs):
        return self.formula(self, *inputs)


def rope(x, base=10000.0):
    """Pairs (i, i + d/2) of x (B, H, T, d), turned by p base^(-2i/d): RoFormer, equation 34."""
    half = x.shape[-1] // 2
    angle = torch.outer(torch.arange(x.shape[-2]).double(), base ** (-torch.arange(half) / half))
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], -1)


def alibi(heads, length):
    """The bias of Press et al. 2021 for a power of two of heads: -2^(-8 (h + 1)/heads) (i - j), -inf for j > i."""
    distance = torch.arange(length)[:, None] - torch.arange(length)
    slopes = 2.0 ** (-8 * torch.arange(1, heads + 1) / heads)
    return torch.where(distance < 0, -torch.inf, -slopes[:, None, None] * distance)


def causal_attention(dim, heads, kv_heads=None, turn=lambda x: x, bias=None):
    kv_heads = kv_heads or heads
    width = dim // heads

    def formula(self, x):
        batch, length, _ = x.shape
        parts = self.c_attn(x).split([dim, kv_heads * width, kv_heads * width], -1)
        q, k, v = (part.reshape(batch, length, -1, width).transpose(1, 2) for part in parts)
        mask = bias(length) if bias else None
        y = F.scaled_dot_product_attention(turn(q), turn(k), v, mask, is_causal=mask is None, enable_gqa=True)
        return self.c_proj(y.transpose(1, 2).reshape(batch, length, dim))

    return Formula(formula, c_attn=nn.Linear(dim, dim + 2 * kv_heads * width), c_proj=nn.Linear(dim, dim))


def sinusoidal(x):
    """x sqrt(D) + PE, PE[p, 2i] = sin(p 10000^(-2i/D)), PE[p, 2i+1] = cos of the same: Vaswani et al. 2017, 3.5."""
    length, dim = x.shape[-2:]
    angle = torch.arange(length)[:, None] * 10000.0 ** (-torch.arange(0, dim, 2) / dim)
    return x * math.sqrt(dim) + torch.stack([angle.sin(), angle.cos()], -1).flatten(-2)


def layers():
    f = Fixture()

    def x(*shape):
        return lambda: numbers(*shape)

    def layer(name, function, module=None, constants=(), **inputs):
        case(f, name, function, module, constants, **inputs)

    def one(name, module, *shape):
        case(f, name, module, x=x(*shape))

    one("linear", nn.Linear(4, 3), 2, 3, 4)
    one("linear_no_bias", nn.Linear(4, 3, bias=False), 5, 4)
    layer("embedding", nn.Embedding(6, 3), x=lambda: ids(2, 5, below=6))
    one("layer_norm", nn.LayerNorm(5), 2, 3, 5)
    one("layer_norm_no_bias", nn.LayerNorm(5, eps=0.1, bias=False), 4, 5)
    one("rms_norm", nn.RMSNorm(5, eps=1e-6), 2, 3, 5)
    one("group_norm", nn.GroupNorm(2, 4), 2, 4, 3)
    one("group_norm_plain", nn.GroupNorm(3, 6, eps=1e-2, affine=False), 2, 6, 2, 2)
    one("batch_norm_train", nn.BatchNorm1d(3, momentum=0.25), 4, 3)
    one("batch_norm_train_image", nn.BatchNorm2d(3), 2, 3, 2, 2)
    one("batch_norm_train_plain", nn.BatchNorm1d(3, eps=1e-2, affine=False), 2, 3, 4)
    one("batch_norm_eval", nn.BatchNorm1d(3).eval(), 2, 3, 4)
    one("dropout_eval", nn.Dropout(0.5).eval(), 2, 5)
    one("dropout_of_none", nn.Dropout(0.0), 2, 5)
    one("prelu", nn.PReLU(), 3, 4)
    one("prelu_channels", nn.PReLU(3), 2, 3, 4)

    layer("feed_forward", Formula(lambda m, x: m.c_proj(F.gelu(m.c_fc(x), approximate="tanh")),
                                  c_fc=nn.Linear(3, 12), c_proj=nn.Linear(12, 3)), x=x(2, 2, 3))
    layer("swiglu", Formula(lambda m, x: m.down_proj(F.silu(m.gate_proj(x)) * m.up_proj(x)),
                            gate_proj=nn.Linear(3, 5, bias=False), up_proj=nn.Linear(3, 5, bias=False),
                            down_proj=nn.Linear(5, 3, bias=False)), x=x(2, 2, 3))
    stack = nn.ModuleList([nn.Linear(3, 5), nn.Linear(5, 4), nn.Linear(4, 2)])
    layer("mlp", Formula(lambda m, x: m.layers[2](m.layers[1](m.layers[0](x).tanh()).tanh()), layers=stack), x=x(4, 3))

    layer("attention", causal_attention(4, 2), x=x(2, 5, 4))
    layer("attention_grouped", causal_attention(8, 4, kv_heads=2), x=x(1, 4, 8))
    layer("attention_rope", causal_attention(8, 2, turn=rope), x=x(1, 5, 8))
    layer("attention_alibi", causal_attention(4, 2, bias=lambda length: alibi(2, length)), x=x(2, 5, 4))
    table = nn.Embedding(6, 4)
    layer("position_learned", lambda x: x + table(torch.arange(1, 4)), table, x=x(2, 3, 4))
    layer("position_sinusoidal", sinusoidal, x=x(2, 5, 4))

    one("conv1d", nn.Conv1d(2, 3, 3), 2, 2, 6)
    one("conv1d_options", nn.Conv1d(4, 6, 3, stride=2, padding=2, dilation=2, groups=2, bias=False), 1, 4, 8)
    one("conv2d", nn.Conv2d(2, 3, (3, 2)), 2, 2, 4, 4)
    one("conv2d_options", nn.Conv2d(4, 2, (2, 3), stride=(2, 1), padding=(0, 1), dilation=(1, 2), groups=2), 1, 4, 5, 5)
    one("conv_transpose1d", nn.ConvTranspose1d(3, 2, 3), 2, 3, 4)
    one("conv_transpose1d_options",
        nn.ConvTranspose1d(4, 2, 3, stride=3, padding=1, output_padding=2, groups=2, bias=False, dilation=2), 1, 4, 4)
    one("conv_transpose2d", nn.ConvTranspose2d(3, 2, (2, 3)), 1, 3, 3, 2)
    one("conv_transpose2d_options",
        nn.ConvTranspose2d(2, 4, (3, 2), stride=(2, 3), padding=(1, 0), output_padding=(1, 2), groups=2), 1, 2, 3, 2)
    one("max_pool1d", nn.MaxPool1d(2), 2, 2, 7)
    one("max_pool2d", nn.MaxPool2d((3, 2), stride=(1, 2), padding=1, dilation=(2, 1)), 1, 2, 6, 5)
    one("avg_pool1d", nn.AvgPool1d(3, stride=2, padding=1), 2, 2, 7)
    one("avg_pool2d", nn.AvgPool2d((3, 2), stride=2, padding=1, count_include_pad=False), 1, 2, 5, 5)

    lstm, plain = nn.LSTMCell(3, 4), nn.LSTMCell(3, 4, bias=False)
    layer("gru_cell", nn.GRUCell(3, 4), x=x(2, 3), h=x(2, 4))
    layer("gru_cell_plain", nn.GRUCell(3, 4, bias=False), x=x(2, 3))
    layer("lstm_cell", lambda x, h, c: torch.stack(lstm(x, (h, c))), lstm, x=x(2, 3), h=x(2, 4), c=x(2, 4))
    layer("lstm_cell_plain", lambda x: torch.stack(plain(x)), plain, x=x(2, 3))

    heads = nn.MultiheadAttention(4, 2, batch_first=True)
    no_bias = nn.MultiheadAttention(4, 2, bias=False, batch_first=True)
    later = torch.ones(3, 3).triu(1).bool()  # not to be seen
    layer("multihead", lambda x: heads(x, x, x)[0], heads, x=x(2, 3, 4))
    layer("multihead_causal", lambda x: no_bias(x, x, x, attn_mask=later)[0], no_bias, x=x(2, 3, 4))
    layer("multihead_padding", lambda q, k, v, padding: heads(q, k, v, key_padding_mask=padding.bool())[0], heads,
          constants=["padding"], q=x(2, 3, 4), k=x(2, 5, 4), v=x(2, 5, 4),
          padding=torch.tensor([[0, 0, 0, 1, 1.0], [0, 1, 0, 0, 0]]))
    return f


def losses():
    f = Fixture()

    def loss(name, function, constants=(), **inputs):
        case(f, name, function, constants=constants, **inputs)

    def x(*shape, **bounds):
        return lambda: numbers(*shape, **bounds)

    def labels(*values):
        return torch.tensor(values)

    signs = labels(1, -1, 1, -1)

    loss("mse_loss", lambda x, y: F.mse_loss(x, y), x=x(3, 4), y=x(3, 4))
    loss("l1_loss", lambda x, y: F.l1_loss(x, y), x=x(3, 4), y=x(3, 4))
    loss("huber_loss", lambda x, y: F.huber_loss(x, y), x=x(3, 4), y=x(3, 4))
    loss("huber_loss_delta", lambda x, y: F.huber_loss(x, y, delta=0.25), x=x(3, 4), y=x(3, 4))
    loss("bce_with_logits", lambda x, y: F.binary_cross_entropy_with_logits(x, y), x=x(3, 4, low=-4),
         y=x(3, 4, low=0, high=1))
    loss("cross_entropy", lambda x, y: F.cross_entropy(x, y), x=x(5, 4), y=lambda: ids(5, below=4))
    loss("cross_entropy_sequence", lambda x, y: F.cross_entropy(x.transpose(1, 2), y), x=x(2, 3, 4),
         y=lambda: ids(2, 3, below=4))
    loss("cross_entropy_options", lambda x, y: F.cross_entropy(x, y, ignore_index=2, label_smoothing=0.125), x=x(5, 4),
         y=labels(0, 2, 3, 1, 2))
    loss("nll_loss", lambda x, y: F.nll_loss(F.log_softmax(x, -1), y), x=x(5, 4), y=lambda: ids(5, below=4))
    loss("nll_loss_ignore", lambda x, y: F.nll_loss(F.log_softmax(x, -1), y, ignore_index=2), x=x(5, 4),
         y=labels(0, 2, 3, 1, 2))
    loss("kl_div", lambda x, y: F.kl_div(F.log_softmax(x, -1), y, reduction="batchmean"), constants=["y"], x=x(3, 4),
         y=torch.tensor([[1, 2, 4, 1], [8, 0, 0, 0], [0, 3, 3, 2.0]]) / 8)
    loss("kl_div_target", lambda x, y: F.kl_div(x, y, reduction="batchmean"), x=x(3, 4), y=x(3, 4, low=0.125, high=1))
    loss("cosine_embedding_loss", lambda x, y, sign: F.cosine_embedding_loss(x, y, sign), x=x(4, 3), y=x(4, 3),
         sign=signs)
    loss("cosine_embedding_loss_margin", lambda x, y, sign: F.cosine_embedding_loss(x, y, sign, margin=-0.5), x=x(4, 3),
         y=x(4, 3), sign=signs)
    loss("triplet_loss", lambda x, y, z: F.triplet_margin_loss(x, y, z), x=x(4, 3), y=x(4, 3), z=x(4, 3))
    loss("triplet_loss_options", lambda x, y, z: F.triplet_margin_loss(x, y, z, margin=0.25, p=3), x=x(4, 3), y=x(4, 3),
         z=x(4, 3))
    return f


# ---- optimizers: ten steps


def optimizers():
    """param.i before, gradient.i (10, ...) of each step (NaN: none), path.i (10, ...) after it, state.i.exp_avg at the
    end, for parameters 0 and 1."""
    f = Fixture()

    def ten_steps(name, kind, schedule=None, groups=({}, {}), idle=(), **options):
        rng.seed(name)
        parameters = [numbers(2, 3), numbers(2)]
        gradients = [numbers(10, *p.shape) for p in parameters]
        gradients[1][list(idle)] = torch.nan
        for i, (p, g) in enumerate(zip(parameters, gradients)):
            f.put(f"{name}/param.{i}", p, "F32")
            f.put(f"{name}/gradient.{i}", g, "F32")
        optimizer = kind([{"params": [p], **group} for p, group in zip(parameters, groups)], **options)
        scheduler = schedule(optimizer) if schedule else None
        paths = [[], []]
        for step in range(10):
            for p, g in zip(parameters, gradients):
                p.grad = None if g[step].isnan().all() else g[step].clone()
            optimizer.step()
            if scheduler:
                scheduler.step()
            for p, path in zip(parameters, paths):
                path.append(p.detach().clone())
        for i, (p, path) in enumerate(zip(parameters, paths)):
            f.put(f"{name}/path.{i}", torch.stack(path))
            for key, value in optimizer.state[p].items():
                if torch.is_tensor(value) and value.shape == p.shape:
                    f.put(f"{name}/state.{i}.{key}", value)

    sgd, adam, adamw = torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW
    ten_steps("sgd", sgd, lr=0.1)
    ten_steps("sgd_weight_decay", sgd, lr=0.1, weight_decay=0.1)
    ten_steps("sgd_momentum", sgd, lr=0.1, momentum=0.9)
    ten_steps("sgd_dampening", sgd, lr=0.1, momentum=0.9, dampening=0.5, weight_decay=0.1)
    ten_steps("sgd_nesterov", sgd, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1)
    ten_steps("sgd_idle", sgd, lr=0.1, momentum=0.9, idle=(0, 4, 5))
    ten_steps("sgd_groups", sgd, lr=0.1, momentum=0.5, groups=({"lr": 0.01}, {"weight_decay": 0.5}))
    ten_steps("sgd_schedule", sgd, lambda o: torch.optim.lr_scheduler.StepLR(o, 3, gamma=0.5), lr=0.1)
    ten_steps("adam", adam)
    ten_steps("adam_idle", adam, lr=0.1, idle=(0, 4, 5))
    ten_steps("adam_options", adam, lr=0.1, betas=(0.8, 0.95), eps=1e-2, weight_decay=0.1)
    ten_steps("adamw", adamw)
    ten_steps("adamw_options", adamw, lr=0.1, betas=(0.8, 0.95), eps=1e-2, weight_decay=0.1)
    ten_steps("adamw_groups", adamw, lr=0.1, groups=({"weight_decay": 0.5}, {"lr": 0.01, "weight_decay": 0.0}))
    return f


# ---- schedules: the factor at steps 0, 1, 2, …


def schedules():
    """PyTorch's schedulers where they are the same function; with a warm-up the formula of schedule.hpp."""
    f = Fixture()

    def factors(name, steps, scheduler):
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
        scheduler = scheduler(optimizer)
        values = []
        for _ in range(steps):
            values.append(scheduler.get_last_lr()[0])
            optimizer.step()
            scheduler.step()
        f.put(f"{name}/factor", torch.tensor(values))

    def warm(warmup, proper):
        factor = lambda step: (step + 1) / (warmup + 1) if step < warmup else proper(step - warmup)
        return lambda o: torch.optim.lr_scheduler.LambdaLR(o, factor)

    s = torch.optim.lr_scheduler
    factors("constant", 6, lambda o: s.ConstantLR(o, factor=1.0))
    factors("step_decay", 12, lambda o: s.StepLR(o, 3, gamma=0.5))
    factors("linear", 14, lambda o: s.LinearLR(o, start_factor=1.0, end_factor=0.25, total_iters=10))
    factors("cosine", 11, lambda o: s.CosineAnnealingLR(o, T_max=10, eta_min=0.125))  # ours then stays, PyTorch's rises
    factors("constant_warmup", 8, warm(4, lambda step: 1))
    factors("step_decay_warmup", 12, warm(4, lambda step: 0.5 ** (step // 3)))
    factors("linear_warmup", 14, warm(4, lambda step: 1 - 0.75 * min(step / 8, 1)))
    factors("cosine_warmup", 14, warm(4, lambda step: 0.125 + 0.875 * (1 + math.cos(math.pi * min(step / 8, 1))) / 2))
    return f


for group in (layers, losses, optimizers, schedules):
    group().write(Path(__file__).parent / "fixtures" / f"{group.__name__}.safetensors")
