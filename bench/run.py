"""The benchmark's driver: starts each workload of ours and of the peers, and lets them run in turn.

Every workload program warms up, then runs one sample for each line that it reads. One sample of ours, one of
each peer, one of the yardstick, and over again: what disturbs the machine disturbs all alike. Programs that
are not being timed are stopped. scripts/bench builds what this runs.
"""

import argparse
import ctypes
import datetime
import json
import os
import pathlib
import re
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile

import report
from workloads import SGEMM_SIZE, WORKLOADS

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
DOCUMENT = ROOT / "docs" / "benchmarks.md"
TOLERANCE = 1e-3  # relative, of the values that ours and the peers computed in their first steps


class Failure(Exception):
    pass


class Program:
    """A workload in a process of its own, stopped but while it is asked for a sample."""

    def __init__(self, command, threads, policy=None, sample_ms=150):
        self.command = [str(part) for part in command]
        self.policy = policy
        number = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        waiting = {"OMP_WAIT_POLICY": policy} if policy else {}
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            self.command + ["--threads", str(threads), "--sample-ms", str(sample_ms)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env=os.environ | number | waiting,
            text=True,
        )
        self.ready = self._answer()
        self.samples = []

    def _answer(self):
        line = self.process.stdout.readline()
        if not line:
            self.errors.seek(0)
            raise Failure(f"{shlex.join(self.command)} ended early:\n{self.errors.read()}")
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGSTOP)
        return json.loads(line)

    def sample(self):
        os.kill(self.process.pid, signal.SIGCONT)
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.samples.append(self._answer()["seconds"])

    def close(self):
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGCONT)
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.errors):
            stream.close()


def best_policy(command, threads, options):
    """Starts a peer with threads that sleep while they wait and with threads that spin, keeps the faster."""
    if threads == 1:
        return Program(command, threads, None, options.sample_ms)
    tried = [Program(command, threads, policy, options.sample_ms) for policy in ("passive", "active")]
    for _ in range(3):
        for program in tried:
            program.sample()
    best, *others = sorted(tried, key=lambda program: statistics.median(program.samples))
    for program in others:
        program.close()
    best.samples.clear()
    return best


def arguments(settings):
    return [part for name, number in settings.items() for part in (f"--{name}", str(number))]


def check_values(name, programs):
    """Programs that compute other numbers measure something else."""
    expected = programs["xgrad"].ready["values"]
    for who, program in programs.items():
        for step, (a, b) in enumerate(zip(expected, program.ready["values"])):
            if not abs(a - b) <= TOLERANCE * max(abs(a), abs(b)):
                raise Failure(f"{name}: step {step} gives {a} in xgrad and {b} in {who}: not the same workload")


def measure(workload, threads, options):
    """All samples of one workload on one number of threads."""
    flags = arguments(workload.settings)
    programs, yardsticks = {}, {}
    try:
        programs["xgrad"] = Program([options.bin / workload.program, *flags], threads, None, options.sample_ms)
        peer = options.peer_bin / workload.program if options.peer_bin else None
        if peer and peer.exists():
            programs["libtorch"] = best_policy([peer, *flags], threads, options)
        if workload.python and options.python:
            twin = ROOT / "bench" / "peer" / f"{workload.program}.py"
            programs["pytorch"] = best_policy([options.python, twin, *flags], threads, options)
        check_values(workload.name, programs)
        if workload.flops:
            for name, raw in (("kernel", 0), ("cblas", 1)):
                command = [options.bin / "sgemm", *arguments(dict(size=SGEMM_SIZE, raw=raw))]
                yardsticks[name] = Program(command, threads, None, options.sample_ms)
        for _ in range(options.rounds):
            for program in (*programs.values(), *yardsticks.values()):
                program.sample()
        return {
            "workload": workload.name,
            "title": workload.title,
            "group": workload.group,
            "threads": threads,
            "settings": workload.settings,
            "flops": workload.flops,
            "bytes": workload.bytes,
            "seconds": {
                who: [sample / workload.per for sample in program.samples]
                for who, program in programs.items()
            },
            "memory": {
                who: {key: program.ready[key] for key in ("growth", "peak")}
                for who, program in programs.items()
            },
            "values": {who: program.ready["values"] for who, program in programs.items()},
            "waiting": {who: p.policy for who, p in programs.items() if p.policy},
            "sgemm_flops_per_second": {
                who: [2 * SGEMM_SIZE**3 / sample for sample in program.samples]
                for who, program in yardsticks.items()
            },
        }
    finally:
        for program in (*programs.values(), *yardsticks.values()):
            program.close()


def cache_entry(folder, name):
    """An entry of CMakeCache.txt."""
    cache = folder / "CMakeCache.txt" if folder else None
    found = cache and cache.exists() and re.search(rf"^{name}:\w+=(.*)$", cache.read_text(), re.M)
    return found[1] if found else None


def package_version(folder, package):
    """What the package's CMake files call their version."""
    where = cache_entry(folder, f"{package}_DIR")
    for file in pathlib.Path(where).glob("*ConfigVersion.cmake") if where else ():
        found = re.search(r'PACKAGE_VERSION "([^"]+)"', file.read_text())
        if found:
            return found[1]
    return None


def output(*command):
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    return result.stdout.strip() if result.returncode == 0 else None


def versions(options):
    compiler = cache_entry(options.bin.parent, "CMAKE_CXX_COMPILER")
    found = {
        "xgrad": output("git", "describe", "--always", "--dirty"),
        "compiler": (output(compiler, "--version") or "?").split("\n")[0],
        "xtensor": package_version(options.bin.parent, "xtensor"),
    }
    try:
        config = ctypes.CDLL("libopenblas.so.0").openblas_get_config
        config.restype = ctypes.c_char_p
        found["OpenBLAS"] = re.sub(r"^OpenBLAS ", "", config().decode().strip())
    except OSError:
        pass
    if options.peer_bin:
        found["LibTorch"] = package_version(options.peer_bin.parent, "Torch")
    if options.python:
        found["PyTorch"] = output(options.python, "-c", "import torch; print(torch.__version__)")
    return {name: version for name, version in found.items() if version}


def machine():
    cpu = re.search(r"^model name\s*: (.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
    kib = re.search(r"^MemTotal:\s*(\d+)", pathlib.Path("/proc/meminfo").read_text(), re.M)
    return {
        "processor": cpu[1].strip() if cpu else os.uname().machine,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(int(kib[1]) / 2**20, 1) if kib else None,
        "system": f"{os.uname().sysname} {os.uname().machine}",
    }


def write_whole(path, text):
    """The old file or the new one, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".bench-", delete=False) as file:
        try:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            os.chmod(file.name, 0o644)
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise


def record(entries, options):
    """Puts the entries in the place of older ones of the same kind, and renews the document's tables."""
    path = RESULTS / f"{options.name}.json"
    old = json.loads(path.read_text())["entries"] if path.exists() else []
    key = lambda entry: (entry["workload"], entry.get("threads"))
    merged = {key(entry): entry for entry in [*old, *entries]}
    order = {workload.name: i for i, workload in enumerate(WORKLOADS)}
    kept = sorted(merged.values(), key=lambda e: (order.get(e["workload"], len(order)), e.get("threads") or 0))
    write_whole(path, json.dumps({"machine": options.machine, "entries": kept}, indent=1) + "\n")
    if DOCUMENT.exists():
        write_whole(DOCUMENT, report.renew(DOCUMENT.read_text(), options.machine, kept))
    print(f"\nrecorded in {path.relative_to(ROOT)}")


def parse(argv):
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Times xgrad and, where it is installed, PyTorch on the same workloads, in turn. A complete "
        "run is recorded in bench/results/ and in the tables of docs/benchmarks.md.",
        epilog="PYTHON chooses the interpreter whose PyTorch is the peer (python3 by default).",
    )
    parser.add_argument("--only", metavar="NAME,…", help="workloads to run, by name or its beginning; see --list")
    parser.add_argument("--threads", metavar="N,…", default="1,2", help="numbers of threads (default: 1,2)")
    parser.add_argument("--rounds", type=int, metavar="N", help="samples of each program (default: 11)")
    parser.add_argument("--sample-ms", type=int, metavar="MS", help="length of a sample, at least one step (150)")
    parser.add_argument("--quick", action="store_true", help="3 short samples: whether it works, not how fast")
    parser.add_argument("--no-peer", action="store_true", help="ours alone")
    parser.add_argument("--record", action="store_true", help="record a partial run too")
    parser.add_argument("--name", help="of the file in bench/results/ (default: processor and cores)")
    parser.add_argument("--list", action="store_true", help="print the workloads' names and end")
    for hidden in ("--bin", "--peer-bin", "--python"):  # scripts/bench says where things are
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)

    options.rounds = options.rounds or (3 if options.quick else 11)
    options.sample_ms = options.sample_ms or (50 if options.quick else 150)
    wanted = options.only.split(",") if options.only else [""]
    for prefix in wanted:
        if not any(w.name.startswith(prefix) for w in WORKLOADS):
            parser.error(f'--only: no workload is called "{prefix}"; --list names them')
    options.workloads = [w for w in WORKLOADS if any(w.name.startswith(prefix) for prefix in wanted)]
    try:
        options.threads = [int(part) for part in options.threads.split(",")]
        assert min(options.threads + [options.rounds, options.sample_ms]) >= 1
    except (ValueError, AssertionError):
        parser.error("--threads, --rounds and --sample-ms want numbers of at least 1")
    options.bin = pathlib.Path(options.bin) if options.bin else ROOT / "build/bench/bin"
    if options.no_peer:
        options.peer_bin = options.python = None
    options.peer_bin = pathlib.Path(options.peer_bin) if options.peer_bin else None
    options.machine = machine()
    slug = re.sub(r"[^a-z0-9]+", "-", options.machine["processor"].lower()).strip("-")
    options.name = options.name or f"{slug}-{options.machine['cores']}"
    if not re.fullmatch(r"[\w.-]+", options.name):
        parser.error("--name: letters, digits, dots and dashes")
    return options


def main(argv):
    options = parse(argv)
    if options.list:
        for workload in WORKLOADS:
            print(f"{workload.name:<16}{workload.title}")
        return
    about = {
        "versions": versions(options),
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="minutes"),
        "command": shlex.join(["scripts/bench", *visible(argv)]),
    }
    print(report.about(options.machine, about["versions"]))
    if not options.peer_bin and not options.python and not options.no_peer:
        print("THE PEER IS MISSING: no PyTorch was found (PYTHON=… scripts/bench chooses one); ours runs alone")
    entries = []
    for workload in options.workloads:
        for threads in options.threads:
            entries.append(measure(workload, threads, options) | about)
            print(report.line(entries[-1]), flush=True)
    print("\n" + report.tables(entries))
    if options.record or not (options.only or options.quick or options.no_peer):
        record(entries, options)


def visible(argv):
    """The arguments as the user gave them to scripts/bench, without those that it adds."""
    return [part for part in argv if not part.startswith(("--bin=", "--peer-bin=", "--python="))]


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Failure as failure:
        sys.exit(f"bench: {failure}")
    except KeyboardInterrupt:
        sys.exit(130)
