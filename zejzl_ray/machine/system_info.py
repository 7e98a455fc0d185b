"""What a debug snapshot says of the system it was taken on."""

import platform
import time
from typing import Any

import psutil


def read_system_info(disk_path: str = "/") -> dict[str, Any]:
    """Return the state of this machine and process; blocks for some milliseconds.

    Sizes are bytes, ``disk_used_ratio`` lies between 0 and 1, ``uptime_s`` counts from the start of the machine. A
    figure that the system refuses is left out and named in ``missing``.

    Args:
        disk_path: the disk that holds this path is the one that is shown.
    """
    memory = psutil.virtual_memory()
    info: dict[str, Any] = {
        "python_version": platform.python_version(),
        "platform": platform.platform(),
        "cpu_count": psutil.cpu_count(),
        "memory_total_bytes": memory.total,
        "memory_available_bytes": memory.available,
        "process_memory_bytes": psutil.Process().memory_info().rss,
        "uptime_s": max(0.0, time.time() - psutil.boot_time()),
    }
    try:
        info["disk_used_ratio"] = psutil.disk_usage(disk_path).percent / 100
    except OSError as error:
        info["missing"] = {"disk_used_ratio": error.strerror or str(error)}
    return info
