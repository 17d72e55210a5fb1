"""What is measured: one entry per row of the tables. How is in run.py, what it looks like in report.py."""

from dataclasses import dataclass, field

SGEMM_SIZE = 2048


@dataclass(frozen=True)
class Workload:
    name: str
    title: str
    program: str  # bench/<program>.cpp, bench/peer/<program>.cpp and, where there is one, .py
    settings: dict = field(default_factory=dict)
    python: bool = False  # there is a twin in Python too
    group: str = "steps"
    per: int = 1  # what a program calls a step is this many of what the table shows
    flops: float = 0  # of all matrix products, to be compared with sgemm
    bytes: float = 0  # that must be read, to be compared with the memory's speed


def gpt(name, layers, heads, width, context, batch, vocab=65):
    """Multiply-adds of the matrix products, times 2; backward needs two products for each of forward's.
    Of the attention's T x T scores the causal half counts. Nothing recomputed counts."""
    tokens = batch * context
    linear = layers * 12 * width * width + vocab * width
    attention = layers * context * width  # q k^T and p v, T/2 keys per query on average
    return Workload(
        name,
        f"GPT {layers} layers, {heads} heads, width {width}, context {context}, batch {batch}: AdamW step",
        "gpt_step",
        dict(layers=layers, heads=heads, width=width, context=context, batch=batch, vocab=vocab),
        python=True,
        flops=3 * 2 * tokens * (linear + attention),
    )


WORKLOADS = [
    Workload("sgemm", f"matrix product, {SGEMM_SIZE} square", "sgemm", dict(size=SGEMM_SIZE, raw=0),
             flops=2 * SGEMM_SIZE**3),
    Workload("scalar_chain", "2000 scalar operations and backward: per operation", "scalar_chain",
             dict(length=2000), per=2000),
    Workload("mlp_sgd", "MLP 2-16-16-1, batch 32: SGD step", "mlp_sgd"),
    # The gradient of the input is not asked for: one product less.
    Workload("mlp_adam", "MLP 784-256-10, batch 64: Adam step", "mlp_adam", python=True,
             flops=2 * 64 * (2 * 784 * 256 + 3 * 256 * 10)),
    gpt("gpt_small", layers=4, heads=4, width=128, context=64, batch=12),
    gpt("gpt_medium", layers=6, heads=6, width=384, context=256, batch=8),
    gpt("gpt_long", layers=4, heads=8, width=256, context=1024, batch=2),
]
