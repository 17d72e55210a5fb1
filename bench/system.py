"""Where a measurement was made and with what, and files that are written whole or not at all."""

import ctypes
import os
import pathlib
import re
import subprocess
import tempfile


def machine():
    cpu = re.search(r"^model name\s*: (.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
    kib = re.search(r"^MemTotal:\s*(\d+)", pathlib.Path("/proc/meminfo").read_text(), re.M)
    return {
        "processor": cpu[1].strip() if cpu else os.uname().machine,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(int(kib[1]) / 2**20) if kib else None,
        "system": f"{os.uname().sysname} {os.uname().machine}",
    }


def cache_entry(folder, name):
    """An entry of a build folder's CMakeCache.txt."""
    found = re.search(rf"^{name}:\w+=(.*)$", (folder / "CMakeCache.txt").read_text(), re.M)
    return found[1] if found else ""


def package_version(folder, package):
    """What the package's CMake files call their version."""
    for file in pathlib.Path(cache_entry(folder, f"{package}_DIR")).glob("*ConfigVersion.cmake"):
        found = re.search(r'PACKAGE_VERSION "([^"]+)"', file.read_text())
        if found:
            return found[1]
    return None


def output(*command, folder=None):
    result = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    return result.stdout.strip() if result.returncode == 0 else None


def openblas():
    try:
        config = ctypes.CDLL("libopenblas.so.0").openblas_get_config
    except OSError:
        return None
    config.restype = ctypes.c_char_p
    return re.sub(r"^OpenBLAS ", "", config().decode().strip())


def versions(build, peer_build, python):
    found = {
        "xgrad": output("git", "describe", "--always", "--dirty", folder=pathlib.Path(__file__).parent),
        "compiler": (output(cache_entry(build, "CMAKE_CXX_COMPILER"), "--version") or "").split("\n")[0],
        "xtensor": package_version(build, "xtensor"),
        "OpenBLAS": openblas(),
        "LibTorch": package_version(peer_build, "Torch") if peer_build else None,
        "PyTorch": output(python, "-c", "import torch; print(torch.__version__)") if python else None,
    }
    return {name: version for name, version in found.items() if version}


def write_whole(path, text):
    """The old file or the new one, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".bench-")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
