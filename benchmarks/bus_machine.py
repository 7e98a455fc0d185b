"""One line about the machine, to be printed above its figures."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

import psutil


def machine_line() -> str:
    """Return processor, cores, memory, versions, and how busy it is now."""
    model = platform.processor() or platform.machine()
    try:
        text = Path("/proc/cpuinfo").read_text()
        model = next(
            line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")
        )
    except (OSError, StopIteration):
        pass
    memory_gib = psutil.virtual_memory().total / 2**30
    versions = ", ".join(
        f"{name} {version(name)}" for name in ("ray", "msgspec", "nats-py", "redis", "hiredis")
    )
    return (
        f"{model}, {os.cpu_count()} cores, {memory_gib:.0f} GiB, Python {platform.python_version()}, {versions}, "
        f"load {os.getloadavg()[0]:.2f}"
    )
