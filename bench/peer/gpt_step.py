"""Twin of bench/gpt_step.cpp, with the fused AdamW that LibTorch's C++ interface lacks."""

import torch
import torch.nn.functional as F
from gpt import Gpt
from session import Session, fill_parameters, tokens

session = Session()
batch, context, vocab = session["batch"], session["context"], session["vocab"]
model = Gpt(vocab, session["layers"], session["heads"], session["width"], context, session["rank"])
fill_parameters(model)
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], fused=True)
x, y = tokens("x", (batch, context), vocab), tokens("y", (batch, context), vocab)
last = 0.0


def step():
    global last
    loss = F.cross_entropy(model(x).view(-1, vocab), y.view(-1))
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    last = loss.item()


session.serve(step, lambda: last)
