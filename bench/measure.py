"""How workloads are measured: ours and the peers' programs run in turn, each in a process of its own.

A workload program warms up, then runs one sample for each line that it reads. One sample of ours, one of each
peer, one of the yardstick, and over again: what disturbs the machine disturbs all alike. Programs that are not
being timed are stopped. Rounds in which a program had to wait for a processor are replaced by further ones.
"""

import ctypes
import json
import os
import pathlib
import re
import resource
import shlex
import shutil
import signal
import statistics
import subprocess
import tempfile

from workloads import SGEMM_SIZE

ROOT = pathlib.Path(__file__).resolve().parent.parent
PEER = ROOT / "bench" / "peer"
TOLERANCE = 1e-3  # relative, of what ours and the peers computed in their first steps
UNDISTURBED = 0.03  # of its time, a program may have waited for a processor
PATIENCE = 3  # times the rounds asked for, until there are enough undisturbed ones
BANDWIDTH_MEBIBYTES = 512


class Failure(Exception):
    pass


def die_with_parent():
    """A stopped program could not notice that its driver is gone: the kernel ends it."""
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Program:
    """A workload that is running, stopped but while it is asked for a sample."""

    def __init__(self, command, threads, sample_ms, policy=None):
        self.command = [str(part) for part in command]
        self.threads, self.policy = threads, policy
        number = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        waiting = {"OMP_WAIT_POLICY": policy} if policy else {}
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            self.command + ["--threads", str(threads), "--sample-ms", str(sample_ms)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env=os.environ | number | waiting,
            preexec_fn=die_with_parent,
            text=True,
        )
        self.ready = self._answer()
        self.samples, self.waits = [], []

    def _answer(self):
        line = self.process.stdout.readline()
        if not line:
            self.errors.seek(0)
            raise Failure(f"{shlex.join(self.command)} ended early:\n{self.errors.read()}")
        os.kill(self.process.pid, signal.SIGSTOP)
        return json.loads(line)

    def _clocks(self):
        """Seconds that its threads have run, and that they were ready to run and did not get to."""
        ran = waited = 0
        for task in pathlib.Path(f"/proc/{self.process.pid}/task").glob("*/schedstat"):
            on, off, _ = task.read_text().split()
            ran, waited = ran + int(on), waited + int(off)
        return ran * 1e-9, waited * 1e-9

    def sample(self):
        ran, waited = self._clocks()
        os.kill(self.process.pid, signal.SIGCONT)
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        seconds = self._answer()["seconds"]
        now_ran, now_waited = self._clocks()
        ran, waited = now_ran - ran, now_waited - waited
        share = waited / max(ran + waited, 1e-9)
        # Of one thread, the time it stood in line can be taken off; several threads wait for each other too.
        self.samples.append(seconds * (1 - share) if self.threads == 1 else seconds)
        self.waits.append(share)

    def close(self):
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.errors):
            stream.close()


def start_peer(command, threads, options):
    """A peer whose threads sleep while they wait for work, or spin: whichever is faster."""
    if threads == 1:
        return Program(command, threads, options.sample_ms)
    tried = []
    try:
        for policy in ("passive", "active"):
            tried.append(Program(command, threads, options.sample_ms, policy))
        for _ in range(3):
            for program in tried:
                program.sample()
        tried.sort(key=lambda program: min(program.samples))
        best = tried.pop(0)
        best.samples, best.waits = [], []
        return best
    finally:
        for program in tried:
            program.close()


def start_yardsticks(workload, threads, options):
    """What the hardware does in a second at most, measured two ways where there are two: name -> (program, work)."""
    if workload.flops:
        for name, blas in (("xgrad", 0), ("openblas", 1)):
            yield name, "sgemm", dict(size=SGEMM_SIZE, blas=blas), 2 * SGEMM_SIZE**3
    elif workload.bytes:
        yield "read", "bandwidth", dict(mebibytes=BANDWIDTH_MEBIBYTES), BANDWIDTH_MEBIBYTES * 2**20


def flags(settings):
    return [part for name, number in settings.items() for part in (f"--{name}", str(number))]


def check_values(workload, programs):
    """Programs that compute other numbers measure something else."""
    expected = programs["xgrad"].ready["values"]
    for who, program in programs.items():
        for step, (a, b) in enumerate(zip(expected, program.ready["values"])):
            if not abs(a - b) <= TOLERANCE * max(abs(a), abs(b)):
                raise Failure(
                    f"{workload.name}: step {step} gives {a} in xgrad and {b} in {who}: not the same workload"
                )


def least_disturbed(programs, rounds):
    """The numbers of the rounds in which the programs waited least for a processor, in order."""
    worst = [max(waits) for waits in zip(*(program.waits for program in programs))]
    return sorted(sorted(range(len(worst)), key=worst.__getitem__)[:rounds])


def timed(workload, threads, options):
    """All samples of one workload on one number of threads."""
    programs, yardsticks, work = {}, {}, {}
    command = flags(workload.settings)
    try:
        programs["xgrad"] = Program([options.bin / workload.program, *command], threads, options.sample_ms)
        if options.peer_bin:
            programs["libtorch"] = start_peer([options.peer_bin / workload.program, *command], threads, options)
        if options.python and workload.python:
            twin = [options.python, "-B", PEER / f"{workload.program}.py", *command]
            programs["pytorch"] = start_peer(twin, threads, options)
        check_values(workload, programs)
        for name, program, settings, amount in start_yardsticks(workload, threads, options):
            yardsticks[name] = Program([options.bin / program, *flags(settings)], threads, options.sample_ms)
            work[name] = amount

        running = [*programs.values(), *yardsticks.values()]
        for done in range(1, PATIENCE * options.rounds + 1):
            for program in running:
                program.sample()
            kept = least_disturbed(running, options.rounds)
            waited = [max(program.waits[i] for program in running) for i in kept]
            if done >= options.rounds and max(waited) < UNDISTURBED:
                break
        return {
            "threads": threads,
            "settings": workload.settings,
            "flops": workload.flops,
            "bytes": workload.bytes,
            "seconds": {
                who: [program.samples[i] / workload.per for i in kept] for who, program in programs.items()
            },
            "waited": waited,  # the share of its time that a program of the round stood in line
            "memory": {
                who: {key: program.ready[key] for key in ("growth", "peak")}
                for who, program in programs.items()
            },
            "values": {who: program.ready["values"] for who, program in programs.items()},
            "waiting": {who: p.policy for who, p in programs.items() if p.policy},
            "yardsticks": {  # FLOP/s or bytes/s
                name: [work[name] / program.samples[i] for i in kept] for name, program in yardsticks.items()
            },
        }
    finally:
        for program in (*programs.values(), *yardsticks.values()):
            program.close()


def kernels(workload, options):
    """Google Benchmark's results. The program measures its own floors, in turn with the operations."""
    program = options.bin / workload.program
    if not program.exists():
        raise Failure(f"{program.name} was not built")
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "kernels.json"
        subprocess.run(
            [program, f"--benchmark_out={out}", "--benchmark_out_format=json",
             f"--benchmark_min_time={0.02 if options.quick else 0.1}"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        results = json.loads(out.read_text())["benchmarks"]
    rows = []
    for result in results:
        name, threads = re.match(r"(.*?)/(\d+)(?:/manual_time|/real_time)*$", result["name"]).groups()
        row = {"name": name, "threads": int(threads), "bytes": result["bytes"]}
        row["bytes_per_second"] = 1e9 * result["GB/s"]
        rows.append(row | {"floor": result["floor"]})
    return {"kernels": rows}


def topk(workload, options):
    """The program has its operators take turns, and keeps the best turn of each."""
    command = [options.bin / workload.program, "--turns", "3" if options.quick else "15"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {"topk": [json.loads(line) for line in said.splitlines()]}


def compile_command(folder, target, out):
    """How CMake compiles `target`'s source, without cache and with -O2."""
    for entry in json.loads((folder / "compile_commands.json").read_text()):
        words = shlex.split(entry["command"])
        if f"/{target}.dir/" in "/" + words[words.index("-o") + 1]:
            break
    else:
        raise Failure(f"{folder} does not say how {target} is compiled")
    if pathlib.Path(words[0]).name == "ccache":
        words = words[1:]
    words = [word for word in words if not re.fullmatch(r"-O\d", word)] + ["-O2"]
    words[words.index("-o") + 1] = out
    return words, entry["directory"]


def processor_seconds(command, folder):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, check=True, env=os.environ | {"CCACHE_DISABLE": "1"})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


RUNTIME = r"(linux-vdso|ld-linux|libc\.|libm\.|libstdc\+\+|libgcc_s|libdl\.|libpthread|librt\.)"


def sizes(program):
    """Bytes of the program, stripped, and of the libraries it loads besides those of C and C++."""
    with tempfile.TemporaryDirectory() as folder:
        stripped = shutil.copy(program, folder)
        subprocess.run(["strip", stripped], check=True)
        size = os.path.getsize(stripped)
    loaded = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    libraries = {
        name: os.path.getsize(path)
        for name, path in re.findall(r"(\S+) => (/\S+)", loaded)
        if not re.match(RUNTIME, name)
    }
    return {"program": size, "libraries": libraries}


def script(workload, options):
    """What it costs to compile the README's script and to ship it, against its twin in LibTorch."""
    sides = {"xgrad": (options.bin.parent, "bench_script", options.bin)}
    if options.peer_bin:
        sides["libtorch"] = (options.peer_bin.parent, "script", options.peer_bin)
    for who, (_, _, programs) in sides.items():
        said = subprocess.run([programs / "script"], capture_output=True, text=True, check=True).stdout
        answer = re.search(r"0\.5 \* -0\.8 = (\S+)", said)
        if not answer or abs(float(answer[1]) + 0.4) > 0.05:
            raise Failure(f"script: {who} does not learn to multiply: {said}")
    seconds = {who: [] for who in sides}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(2 if options.quick else 5):
            for who, (build, target, _) in sides.items():
                command, directory = compile_command(build, target, os.path.join(folder, "script.o"))
                seconds[who].append(processor_seconds(command, directory))
    return {"compile_seconds": seconds, "sizes": {who: sizes(side[2] / "script") for who, side in sides.items()}}


OWN_WAY = {"kernels": kernels, "topk": topk, "script": script}  # groups that are not timed in turn with a peer


def measure(workload, options):
    """Yields a workload's results, one per number of threads where that matters."""
    about = {"workload": workload.name, "title": workload.title, "group": workload.group}
    if workload.group in OWN_WAY:
        yield about | {"threads": None} | OWN_WAY[workload.group](workload, options)
        return
    for threads in options.threads:
        yield about | timed(workload, threads, options)
