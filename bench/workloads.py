"""What is measured: one entry per row of the tables. How is in measure.py, what it looks like in report.py."""

from dataclasses import dataclass, field

SGEMM_SIZE = 2048


@dataclass(frozen=True)
class Workload:
    name: str
    title: str
    program: str = ""  # bench/<program>.cpp, its twin bench/peer/<program>.cpp and, where there is one, .py
    settings: dict = field(default_factory=dict)
    group: str = "steps"  # the table it belongs to
    python: bool = False  # there is a twin in Python too
    per: int = 1  # what a program calls a step is this many of what the table shows
    # What the hardware has to do, to be compared with how fast it does that alone. Of each table row:
    flops: float = 0  # of all matrix products, against sgemm
    bytes: float = 0  # to be read, against reading


def gpt(name, layers, heads, width, context, batch, vocab=65, rank=0):
    """Multiply-adds of the matrix products, times 2; backward needs two products for each of forward's, but only
    one for a frozen weight. Of the attention's T x T scores the causal half counts. Nothing recomputed counts."""
    linear = layers * 12 * width * width + vocab * width  # multiply-adds per token
    attention = layers * context * width  # q k^T and p v, with T/2 keys per query on average
    adapters = layers * 16 * width * rank  # rank (in + out) of the four layers of a block
    return Workload(
        name,
        f"GPT {layers} layers, {heads} heads, width {width}, context {context}, batch {batch}: AdamW step"
        + (f" of adapters of rank {rank}" if rank else ""),
        "gpt_step",
        dict(layers=layers, heads=heads, width=width, context=context, batch=batch, vocab=vocab, rank=rank),
        python=True,
        flops=2 * batch * context * ((2 if rank else 3) * linear + 3 * (attention + adapters)),
    )


def attention(context, backward, head=64, queries=16384):
    """Forward's two products on the causal half, and backward's four, its recomputed scores not counted."""
    heads = queries // context
    return Workload(
        f"attention_{context}" + ("_backward" if backward else ""),
        "forward and backward" if backward else "forward",
        "attention",
        dict(heads=heads, context=context, head=head, backward=int(backward)),
        group="attention",
        flops=(3 if backward else 1) * 2 * heads * context * context * head,
    )


def generation(name, layers, heads, width, context=256, vocab=65, tokens=32):
    """All weights that a token passes through, 4 bytes each; of the embeddings, one row."""
    numbers = layers * (12 * width * width + 13 * width) + vocab * width
    return Workload(
        name,
        f"GPT {layers} layers, {heads} heads, width {width}: {tokens} tokens after 1",
        "generation",
        dict(layers=layers, heads=heads, width=width, context=context, vocab=vocab, tokens=tokens),
        group="generation",
        per=tokens,
        bytes=4 * numbers,
    )


def nearest(rows, codes, width):
    """One product of all vectors with all codes; the comparisons do not count."""
    return Workload(
        "nearest",
        f"{rows} vectors of {width} numbers among {codes} codes",
        "nearest",
        dict(rows=rows, codes=codes, width=width),
        group="nearest",
        flops=2 * rows * codes * width,
    )


WORKLOADS = [
    Workload("sgemm", f"matrix product, {SGEMM_SIZE} square", "sgemm", dict(size=SGEMM_SIZE, blas=0),
             flops=2 * SGEMM_SIZE**3),
    Workload("scalar_chain", "2000 scalar operations and backward: per operation", "scalar_chain",
             dict(length=2000), per=2000),
    Workload("mlp_sgd", "MLP 2-16-16-1, batch 32: SGD step", "mlp_sgd"),
    # The gradient of the input is not asked for: one product less.
    Workload("mlp_adam", "MLP 784-256-10, batch 64: Adam step", "mlp_adam", python=True,
             flops=2 * 64 * (2 * 784 * 256 + 3 * 256 * 10)),
    gpt("gpt_small", layers=4, heads=4, width=128, context=64, batch=12),
    gpt("gpt_medium", layers=6, heads=6, width=384, context=256, batch=8),
    gpt("gpt_medium_lora", layers=6, heads=6, width=384, context=256, batch=8, rank=8),
    gpt("gpt_long", layers=4, heads=8, width=256, context=1024, batch=2),
    *(attention(context, backward) for context in (256, 512, 1024, 2048, 4096, 8192) for backward in (False, True)),
    generation("generate_medium", layers=6, heads=6, width=384),
    generation("generate_large", layers=12, heads=12, width=768),
    nearest(rows=65536, codes=8192, width=64),
    Workload("topk", "smooth top-k operators, by row", "topk", group="topk"),
    Workload("kernels", "row-wise and elementwise operations", "kernels", group="kernels"),
    Workload("script", "the README's training script", "script", group="script"),
]
