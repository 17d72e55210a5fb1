"""What a run looks like: a line per workload while it runs, and the tables of docs/benchmarks.md."""

import re
import statistics

NAMES = {"xgrad": "xgrad", "libtorch": "LibTorch", "pytorch": "PyTorch"}
DISTURBED = 0.05  # of the time waited for a processor, from which on a row says so


def duration(seconds):
    for unit, size in (("s", 1), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            break
    return f"{seconds / size:.3g} {unit}" if seconds < 1000 * size else f"{seconds / size:.0f} {unit}"


def mebibytes(size):
    return f"{size / 2**20:.3g}" if size < 1000 * 2**20 else f"{size / 2**20:.0f}"


def spread(samples):
    """Median and, in brackets, the extremes."""
    if not samples:
        return "–"
    return f"{duration(statistics.median(samples))} ({duration(min(samples))} – {duration(max(samples))})"


def ratio_of(values):
    """The peers' best over ours: above 1, ours is better (less is better)."""
    others = [value for who, value in values.items() if who != "xgrad"]
    return min(others) / values["xgrad"] if others else None


def ratio(entry):
    return ratio_of({who: statistics.median(samples) for who, samples in entry["seconds"].items()})


def yardstick(entry):
    """FLOP/s or bytes/s at most: the better of the ways in which it was measured."""
    return max(statistics.median(rates) for rates in entry["yardsticks"].values())


def share(entry):
    """How much of the yardstick's speed, measured in the same call, we keep."""
    work = entry["flops"] or entry["bytes"]
    return work / statistics.median(entry["seconds"]["xgrad"]) / yardstick(entry) if work else None


def show(value, pattern):
    return pattern.format(value) if value is not None else "–"


def disturbed(entry):
    waited = statistics.median(entry["waited"])
    return f" (other programs took {waited:.0%} of the time)" if waited > DISTURBED else ""


def line(entry):
    if entry["group"] == "kernels":
        shares = [row["floor"] for row in entry["kernels"]]
        return f"kernels: {len(shares)} measured, the median keeps {statistics.median(shares):.0%} of its floor"
    if entry["group"] == "topk":
        times = [row["forward"] for row in entry["topk"] if row["operator"] == "LaplaceTopK"]
        return f"topk: a row takes LaplaceTopK {duration(min(times))} to {duration(max(times))}, by its length"
    if entry["group"] == "script":
        seconds = {NAMES[who]: statistics.median(samples) for who, samples in entry["compile_seconds"].items()}
        return "script: compiled in " + ", ".join(f"{value:.2f} s ({who})" for who, value in seconds.items())
    parts = [f"{NAMES[who]} {spread(samples)}" for who, samples in entry["seconds"].items()]
    if ratio(entry):
        parts.append(f"ratio {ratio(entry):.2f}")
    if share(entry):
        unit = "GFLOP/s" if entry["flops"] else "GB/s"
        parts.append(f"{share(entry):.0%} of {yardstick(entry) * 1e-9:.0f} {unit}")
    parts += [f"{NAMES[who]}'s threads wait {policy}ly" for who, policy in entry["waiting"].items()]
    where = f"{entry['workload']}, {entry['threads']} thread{'s' if entry['threads'] > 1 else ''}"
    return f"{where}: {'; '.join(parts)}{disturbed(entry)}"


def table(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in cells) + " |" for cells in lines)


def steps_table(entries):
    return table(
        ["workload", "threads", "xgrad", "LibTorch, C++", "PyTorch, Python", "ratio", "of sgemm"],
        [
            [
                entry["title"] + disturbed(entry),
                entry["threads"],
                *(spread(entry["seconds"].get(who)) for who in NAMES),
                show(ratio(entry), "**{:.2f}**"),
                show(share(entry), "{:.0%}"),
            ]
            for entry in entries
        ],
    )


def memory_table(entries):
    """Of the steps whose tensors outweigh the libraries. Memory hardly depends on the number of threads."""
    heavy = [entry for entry in entries if entry["memory"]["xgrad"]["growth"] > 2**27]
    rows = []
    for entry in heavy:
        growth = {who: memory["growth"] for who, memory in entry["memory"].items()}
        cells = [
            f"{mebibytes(memory['growth'])} ({mebibytes(memory['peak'])})" if memory else "–"
            for memory in map(entry["memory"].get, NAMES)
        ]
        rows.append([entry["title"], entry["threads"], *cells, show(ratio_of(growth), "**{:.2f}**")])
    return table(["peak memory, MiB", "threads", *NAMES.values(), "ratio"], rows) if rows else None


def attention_table(entries):
    rows = []
    for entry in entries:
        growth = [entry["memory"].get(who) for who in ("xgrad", "libtorch")]
        rows.append([
            entry["settings"]["context"],
            entry["title"] + disturbed(entry),
            entry["threads"],
            *(spread(entry["seconds"].get(who)) for who in ("xgrad", "libtorch")),
            show(ratio(entry), "**{:.2f}**"),
            show(share(entry), "{:.0%}"),
            " / ".join(mebibytes(memory["growth"]) if memory else "–" for memory in growth),
        ])
    header = ["T", "attention", "threads", "xgrad", "LibTorch", "ratio", "of sgemm", "MiB, ours / theirs"]
    return table(header, rows)


def generation_table(entries):
    def rate(samples):
        return f"{1 / statistics.median(samples):.0f}" if samples else "–"

    return table(
        ["generation", "threads", "xgrad, tokens/s", "LibTorch, tokens/s", "ratio", "of reading the weights"],
        [
            [
                entry["title"] + disturbed(entry),
                entry["threads"],
                *(rate(entry["seconds"].get(who)) for who in ("xgrad", "libtorch")),
                show(ratio(entry), "**{:.2f}**"),
                show(share(entry), "{:.0%}"),
            ]
            for entry in entries
        ],
    )


def nearest_table(entries):
    """Scratch is what the process grew by less vectors, codes and answers."""
    rows = []
    for entry in entries:
        n, codes, width = (entry["settings"][name] for name in ("rows", "codes", "width"))
        operands = 4 * (n + codes) * width + 8 * n
        growth = [entry["memory"].get(who) for who in ("xgrad", "libtorch")]
        rows.append([
            entry["title"] + disturbed(entry),
            entry["threads"],
            *(spread(entry["seconds"].get(who)) for who in ("xgrad", "libtorch")),
            show(ratio(entry), "**{:.2f}**"),
            show(share(entry), "{:.0%}"),
            " / ".join(mebibytes(memory["growth"] - operands) if memory else "–" for memory in growth),
        ])
    header = ["nearest code", "threads", "xgrad", "LibTorch", "ratio", "of sgemm", "scratch, MiB, ours / theirs"]
    return table(header, rows)


def kernels_table(entries):
    cells = {}
    for row in entries[-1]["kernels"]:
        cell = f"{row['bytes_per_second'] * 1e-9:.0f} GB/s, **{row['floor']:.2f}**"
        cells.setdefault(row["name"], {})[row["threads"]] = cell
    threads = sorted({row["threads"] for row in entries[-1]["kernels"]})
    header = ["kernel", *(f"{n} thread{'s' if n > 1 else ''}" for n in threads)]
    return table(header, [[name, *(row.get(n, "–") for n in threads)] for name, row in cells.items()])


def topk_table(entries):
    """Operators down, sizes across."""
    cells, sizes = {}, []
    for row in entries[-1]["topk"]:
        size = f"{row['n']}, {row['k']}"
        sizes += [size] if size not in sizes else []
        times = (f"{1e6 * row[part]:.3g}" if row[part] < 1e-3 else f"{1e6 * row[part]:.0f}" for part in ("forward", "both"))
        cells.setdefault(row["operator"], {})[size] = " / ".join(times)
    header = ["n, k: µs per row, forward / with backward", *sizes]
    return table(header, [[name, *(row.get(size, "–") for size in sizes)] for name, row in cells.items()])


def script_table(entries):
    entry = entries[-1]
    rows = []
    for who, samples in entry["compile_seconds"].items():
        size = entry["sizes"][who]
        libraries = ", ".join(f"{name} {mebibytes(n)}" for name, n in size["libraries"].items() if n > 2**17)
        total = size["program"] + sum(size["libraries"].values())
        rows.append([NAMES[who], spread(samples), mebibytes(size["program"]), libraries, mebibytes(total)])
    return table(["the README's script", "compiling, -O2", "program, MiB", "libraries, MiB", "sum, MiB"], rows)


TABLES = {
    "steps": (steps_table, memory_table),
    "attention": (attention_table,),
    "generation": (generation_table,),
    "nearest": (nearest_table,),
    "topk": (topk_table,),
    "kernels": (kernels_table,),
    "script": (script_table,),
}


def tables(entries):
    parts = []
    for group, renderers in TABLES.items():
        members = [entry for entry in entries if entry["group"] == group]
        parts += [render(members) for render in renderers if members]
    return "\n\n".join(part for part in parts if part)


def about(machine, versions):
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    return f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB; {listed}"


BEGIN, END = "<!-- generated by scripts/bench: begin -->", "<!-- generated by scripts/bench: end -->"


def renew(text, machine, entries):
    """The document with its generated part replaced."""
    before, _, rest = text.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"the document lacks {BEGIN} and {END}")
    latest = max(entries, key=lambda entry: entry["date"])
    commands = ", ".join(f"`{command}`" for command in sorted({entry["command"] for entry in entries}))
    commits = ", ".join(sorted({entry["versions"].get("xgrad", "?") for entry in entries}))
    made = f"Made by {commands}, the last on {latest['date'][:10]}, with xgrad at {commits}."
    body = "\n\n".join([about(machine, latest["versions"]), tables(entries), made])
    return f"{before}{BEGIN}\n\n{body}\n\n{END}{after}"
