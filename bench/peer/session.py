"""The twin of bench/support/session.hpp and fill.hpp for workloads in Python."""

import json
import re
import sys
import time

import torch


def settings(arguments):
    """`--width 128 --threads 2` as {"width": 128, "threads": 2}."""
    return {
        name.removeprefix("--"): int(number)
        for name, number in zip(arguments[::2], arguments[1::2])
    }


def noise(name, count):
    h = 2166136261
    for byte in name.encode():
        h = (h ^ byte) * 16777619 % 2**32
    # Products may overflow 64 bits; their lower 32, which alone count, are right all the same.
    h = (h + torch.arange(count) * 2654435761) & 0xFFFFFFFF
    h = (h ^ h >> 15) * 2246822519 & 0xFFFFFFFF
    h = (h ^ h >> 13) * 3266489917 & 0xFFFFFFFF
    return (h ^ h >> 16) >> 8


def filled(name, shape, scale=1.0, offset=0.0):
    count = torch.Size(shape).numel()
    return (offset + scale * (noise(name, count).double() * 2**-23 - 1)).float().reshape(shape)


def tokens(name, shape, vocab):
    return (noise(name, torch.Size(shape).numel()) % vocab).reshape(shape)


def fill_parameters(model):
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.ndim >= 2:
                p.copy_(filled(name, p.shape, p.shape[-1] ** -0.5))
            else:
                norm = "ln_" in name and name.endswith("weight")
                p.copy_(filled(name, p.shape, 0.1, 1.0 if norm else 0.0))


def occupied(what):
    with open("/proc/self/status") as status:
        return int(re.search(rf"^{what}:\s*(\d+)", status.read(), re.M)[1]) * 1024


def seconds(step, times):
    start = time.perf_counter()
    for _ in range(times):
        step()
    return time.perf_counter() - start


class Session:
    def __init__(self):
        self.settings = settings(sys.argv[1:])
        torch.set_num_threads(self["threads"])
        torch.ones(256, 256) @ torch.ones(256, 256)
        self.peak_before = occupied("VmHWM")
        with open("/proc/self/clear_refs", "w") as refs:
            refs.write("5")
        self.start = occupied("VmRSS")

    def __getitem__(self, name):
        return self.settings[name]

    def serve(self, step, value):
        values = []
        for _ in range(3):
            step()
            values.append(value())
        peak = occupied("VmHWM")
        ready = {
            "values": values,
            "growth": peak - self.start,
            "peak": max(peak, self.peak_before),
        }
        if self["sample-ms"] == 0:
            print(json.dumps(ready), flush=True)
            return
        target = 1e-3 * self["sample-ms"]
        once = spent = seconds(step, 1)
        while spent < target:
            latest = seconds(step, 1)
            once = min(once, latest)
            spent += latest
        steps = max(1, round(target / once))
        print(json.dumps(ready | {"steps": steps}), flush=True)
        for _ in sys.stdin:
            if steps > 1:
                seconds(step, (steps + 9) // 10)
            print(json.dumps({"seconds": seconds(step, steps) / steps}), flush=True)
