"""What the process that asks uses of its machine."""

import os
import time
from dataclasses import dataclass

import psutil

from zejzl_ray.machine.probe import CpuTimes


@dataclass(frozen=True, slots=True)
class ProcessReading:
    """One process at one moment.

    Attributes:
        cpu_ratio: of one CPU, mean since the reading before; above 1 with several threads.
        ram_bytes: resident memory.
        open_files: descriptors; None where the system does not tell.
        uptime_s: since the process started.
    """

    pid: int
    cpu_ratio: float
    ram_bytes: int
    threads: int
    open_files: int | None
    uptime_s: float


class ProcessProbe:
    """Reads this process; keeps one handle, so that the CPU figure is one of the time between two readings."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._before = self._spent()

    def read(self) -> ProcessReading:
        """Return the process now; takes well below a millisecond."""
        now = self._spent()
        elapsed_s = now.total_s - self._before.total_s
        cpu_ratio = max(0.0, now.busy_s - self._before.busy_s) / elapsed_s if elapsed_s > 0 else 0.0
        self._before = now
        with self._process.oneshot():
            return ProcessReading(
                pid=self._process.pid,
                cpu_ratio=cpu_ratio,
                ram_bytes=self._process.memory_info().rss,
                threads=self._process.num_threads(),
                open_files=_open_files(self._process),
                uptime_s=max(0.0, time.time() - self._process.create_time()),
            )

    @staticmethod
    def _spent() -> CpuTimes:
        times = os.times()
        return CpuTimes(busy_s=times.user + times.system, total_s=time.monotonic())


def _open_files(process: psutil.Process) -> int | None:
    try:
        return int(process.num_fds())
    except (AttributeError, psutil.AccessDenied):  # Windows has no descriptors
        return None
