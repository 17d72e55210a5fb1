"""Adapters that PEFT wrote, and what the model with them computes: fixtures/peft, read by
tests/nn/lora_peft_test.cpp. Made with PEFT 0.21.2 and PyTorch 2.13:

    python make_peft_fixtures.py

With a folder that the test left behind, checks that PEFT reads what this library writes:

    XGRAD_PEFT_OUT=DIR build/release/bin/xgrad_tests "*PEFT*"; python make_peft_fixtures.py DIR
"""
import json
import pathlib
import shutil
import sys

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import nn

folder = pathlib.Path(__file__).parent / "fixtures" / "peft"
ids = torch.tensor([[1, 4, 2], [6, 0, 1]])


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = nn.Linear(6, 5)
        self.down = nn.Linear(5, 6, bias=False)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(7, 6)
        self.h = nn.ModuleList([Block(), Block()])
        self.head = nn.Linear(6, 4)

    def forward(self, ids):
        x = self.emb(ids)
        for block in self.h:
            x = x + block.down(torch.tanh(block.up(x)))
        return self.head(x)


def base():
    torch.manual_seed(0)
    return Net()


configs = {
    "lora": LoraConfig(r=2, lora_alpha=3, target_modules=["up", "emb"], bias="lora_only",
                       modules_to_save=["head"], rank_pattern={"h.1.up": 3}, lora_dropout=0.25),
    "dora": LoraConfig(r=2, lora_alpha=3, target_modules=r"h\.\d\.(up|down)", use_dora=True,
                       use_rslora=True, bias="all", alpha_pattern={"down": 5}),
}


def write():
    save_file(base().state_dict(), folder / "base.safetensors")
    outputs = {}
    for name, config in configs.items():
        model = get_peft_model(base(), config)
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data += 0.3 * torch.randn_like(parameter)
        model.save_pretrained(folder / name)
        (folder / name / "README.md").unlink()
        outputs[name] = model.eval().double()(ids).detach()
    save_file(outputs, folder / "outputs.safetensors")


def check(written):
    expected = load_file(written / "outputs.safetensors")
    for path in sorted(written.glob("*/adapter_config.json")):
        name = path.parent.name
        model = PeftModel.from_pretrained(base(), path.parent).eval().double()
        y = expected[name].double()
        difference = ((model(ids) - y).abs().max() / y.abs().max()).item()
        rank = json.loads(path.read_text())["r"]
        print(f"{name}: rank {rank}, outputs differ by {difference:.1e} of the largest")
        assert difference < 1e-5, name


if __name__ == "__main__":
    if len(sys.argv) > 1:
        check(pathlib.Path(sys.argv[1]))
    else:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write()
