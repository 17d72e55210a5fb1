"""Reference numbers for optimizer_test.cpp and clip_test.cpp, from PyTorch in double.

Two parameters, w (2, 3) and b (3,), take ten steps on a made-up gradient that depends on their
values, g_k = (k + 1)/4 p_k + cos(step + k); b has none on every third step.
Made with PyTorch 2.13: python reference.py
"""
import torch
from torch.optim import SGD, Adam, AdamW

torch.set_default_dtype(torch.float64)


def start():
    w = torch.arange(6.0).reshape(2, 3) / 4 - 0.5
    b = torch.tensor([0.3, -0.2, 0.1])
    return w.requires_grad_(), b.requires_grad_()


def gradient(p, step):
    k = torch.arange(float(p.numel())).reshape(p.shape)
    return (k + 1) / 4 * p.detach() + torch.cos(step + k)


def run(name, make, factor=lambda step: 1.0):
    w, b = start()
    optimizer = make(w, b)
    base = [group["lr"] for group in optimizer.param_groups]
    for step in range(10):
        w.grad = gradient(w, step)
        b.grad = None if step % 3 == 2 else gradient(b, step)
        for group, lr in zip(optimizer.param_groups, base):
            group["lr"] = lr * factor(step)
        optimizer.step()
    values = [*w.detach().flatten().tolist(), *b.detach().tolist()]
    print(f'"{name}":', ", ".join(repr(v) for v in values))


def both(kind, **options):
    return lambda w, b: kind([w, b], **options)


run("SGD", both(SGD, lr=0.05))
run("SGD, weight decay", both(SGD, lr=0.05, weight_decay=0.1))
run("SGD, momentum", both(SGD, lr=0.05, momentum=0.9))
run("SGD, momentum, weight decay", both(SGD, lr=0.05, momentum=0.9, weight_decay=0.1))
run("SGD, momentum, dampening", both(SGD, lr=0.05, momentum=0.9, dampening=0.3))
run("SGD, nesterov", both(SGD, lr=0.05, momentum=0.9, nesterov=True))
run("SGD, nesterov, weight decay",
    both(SGD, lr=0.05, momentum=0.8, nesterov=True, weight_decay=0.1))
run("Adam", both(Adam))
run("Adam, other betas and eps", both(Adam, lr=0.05, betas=(0.7, 0.9), eps=1e-3))
run("Adam, weight decay", both(Adam, lr=0.05, weight_decay=0.1))
run("AdamW", both(AdamW))
run("AdamW, other betas and eps", both(AdamW, lr=0.05, betas=(0.3, 0.95), eps=1e-3))
run("AdamW, weight decay", both(AdamW, lr=0.05, weight_decay=0.5))
run("AdamW, groups and a schedule",
    lambda w, b: AdamW([{"params": [w]}, {"params": [b], "lr": 0.1, "weight_decay": 0.0}],
                       lr=0.05, weight_decay=0.5),
    lambda step: 1 / (1 + step))

w, b = start()
for max_norm in (1.0, 100.0):
    w.grad, b.grad = gradient(w, 1), gradient(b, 1)
    norm = torch.nn.utils.clip_grad_norm_([w, b], max_norm)
    print("clip_grad_norm", max_norm, norm.item(), [*w.grad.flatten().tolist(), *b.grad.tolist()])
w.grad, b.grad = gradient(w, 1), gradient(b, 1)
torch.nn.utils.clip_grad_value_([w, b], 0.5)
print("clip_grad_value", [*w.grad.flatten().tolist(), *b.grad.tolist()])
