"""The benchmark's command line: which workloads, how often, and where the results go.

scripts/bench builds the programs and calls this. The measuring is in measure.py, the tables are in report.py.
"""

import argparse
import datetime
import json
import pathlib
import re
import shlex
import subprocess
import sys

import measure
import report
import system
from workloads import WORKLOADS

RESULTS = measure.ROOT / "bench" / "results"
DOCUMENT = measure.ROOT / "docs" / "benchmarks.md"
FROM_SCRIPT = ("--bin", "--peer-bin", "--python")  # scripts/bench says where things are


def number(text):
    if not re.fullmatch("[1-9][0-9]*", text):
        raise argparse.ArgumentTypeError(f'wants a number of at least 1, got "{text}"')
    return int(text)


def numbers(text):
    return [number(part) for part in text.split(",")]


def parse(argv):
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Times xgrad and, where it is installed, PyTorch on the same workloads, in turn. A complete "
        "run is recorded in bench/results/ and in the tables of docs/benchmarks.md.",
        epilog="PYTHON=… in the environment chooses the interpreter whose PyTorch is the peer, by default python3.",
    )
    parser.add_argument("--only", metavar="NAME,…", help="workloads to run, by name or its beginning; see --list")
    parser.add_argument("--threads", type=numbers, default=[1, 2], metavar="N,…", help="numbers of threads (1,2)")
    parser.add_argument("--rounds", type=number, metavar="N", help="samples of each program (11)")
    parser.add_argument("--sample-ms", type=number, metavar="MS", help="length of a sample, at least a step (150)")
    parser.add_argument("--quick", action="store_true", help="3 short samples: whether it works, not how fast it is")
    parser.add_argument("--no-peer", action="store_true", help="ours alone")
    parser.add_argument("--record", action="store_true", help="record a run that is not complete, too")
    parser.add_argument("--name", help="of the file in bench/results/ (the processor's and how many cores)")
    parser.add_argument("--list", action="store_true", help="print the names of the workloads and end")
    parser.add_argument("--check", action="store_true", help=argparse.SUPPRESS)
    for flag in FROM_SCRIPT:
        parser.add_argument(flag, type=pathlib.Path, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)

    options.rounds = options.rounds or (3 if options.quick else 11)
    options.sample_ms = options.sample_ms or (50 if options.quick else 150)
    wanted = tuple(options.only.split(",")) if options.only else ("",)
    for beginning in wanted:
        if not any(workload.name.startswith(beginning) for workload in WORKLOADS):
            parser.error(f'--only: no workload is called "{beginning}"; --list names them')
    options.workloads = [workload for workload in WORKLOADS if workload.name.startswith(wanted)]
    options.complete = not (options.only or options.quick or options.no_peer) and {1, 2} <= set(options.threads)
    options.bin = options.bin or measure.ROOT / "build/bench/bin"
    if options.no_peer:
        options.peer_bin = options.python = None
    options.machine = system.machine()
    processor = re.sub(r"[^a-z0-9]+", "-", options.machine["processor"].lower()).strip("-")
    options.name = options.name or f"{processor}-{options.machine['cores']}"
    if not re.fullmatch(r"\w[\w.-]*", options.name):
        parser.error("--name: wants letters, digits, dots and dashes")
    options.command = shlex.join(["scripts/bench", *(part for part in argv if not part.startswith(FROM_SCRIPT))])
    return options


def record(entries, options):
    """Puts the entries in the place of older ones of the same workload, and renews the document's tables."""
    path = RESULTS / f"{options.name}.json"
    old = json.loads(path.read_text())["entries"] if path.exists() else []
    merged = {(entry["workload"], entry["threads"]): entry for entry in [*old, *entries]}
    order = [workload.name for workload in WORKLOADS]
    kept = [entry for entry in merged.values() if entry["workload"] in order]
    kept.sort(key=lambda entry: (order.index(entry["workload"]), entry["threads"] or 0))
    system.write_whole(path, json.dumps({"machine": options.machine, "entries": kept}, indent=1) + "\n")
    system.write_whole(DOCUMENT, report.renew(DOCUMENT.read_text(), options.machine, kept))
    print(f"\nrecorded in {path.relative_to(measure.ROOT)} and {DOCUMENT.relative_to(measure.ROOT)}")


def main(argv):
    options = parse(argv)
    if options.check:
        return
    if options.list:
        for workload in WORKLOADS:
            print(f"{workload.name:<25}{workload.title}")
        return
    about = {
        "versions": system.versions(
            options.bin.parent, options.peer_bin and options.peer_bin.parent, options.python),
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="minutes"),
        "command": options.command,
    }
    print(report.about(options.machine, about["versions"]))
    if not options.peer_bin and not options.no_peer:
        print("THE PEER IS MISSING: LibTorch was not found (PYTHON=… scripts/bench chooses another interpreter)")
    entries = []
    for workload in options.workloads:
        for results in measure.measure(workload, options):
            entries.append(results | about)
            print(report.line(entries[-1]), flush=True)
    print("\n" + report.tables(entries))
    if options.complete or options.record:
        record(entries, options)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (measure.Failure, subprocess.CalledProcessError) as failure:
        sys.exit(f"bench: {failure}")
    except KeyboardInterrupt:
        sys.exit(130)
