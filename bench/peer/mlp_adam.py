"""Twin of bench/mlp_adam.cpp, with the fused Adam that LibTorch's C++ interface lacks."""

import torch
import torch.nn.functional as F
from session import Session, fill_parameters, filled, tokens
from torch import nn


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(784, 256), nn.Linear(256, 10)])

    def forward(self, x):
        return self.layers[1](F.relu(self.layers[0](x)))


session = Session()
model = Mlp()
fill_parameters(model)
optimizer = torch.optim.Adam(model.parameters(), fused=True)
x, y = filled("x", (64, 784)), tokens("y", (64,), 10)
last = 0.0


def step():
    global last
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    last = loss.item()


session.serve(step, lambda: last)
