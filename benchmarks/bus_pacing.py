"""A steady beat for an open loop: bursts at the times of a schedule, whether or not the last burst is through.

The event loop's own timers are rounded up to whole milliseconds, which would make two bursts of 1.07 ms one; the
kernel's timer is not, and nobody has to spin.
"""

import asyncio
import ctypes
import os
import struct
import time
from types import TracebackType
from typing import Final, Self

BURST: Final = 16
_CLOCK_MONOTONIC: Final = 1
_ABSOLUTE: Final = 1
_NONBLOCK_CLOEXEC: Final = os.O_NONBLOCK | os.O_CLOEXEC


class Beat:
    """Ticks on a schedule; ``start_s + k * period_s`` is the time of tick ``k`` (monotonic). Linux only.

    Args:
        period_s: time between two ticks.
    """

    def __init__(self, period_s: float) -> None:
        self.period_s = period_s
        self.start_s = 0.0
        self._descriptor = -1
        self._due = asyncio.Event()
        self._ticks = 0

    def __enter__(self) -> Self:
        """Start; the first tick is 20 ms away."""
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = libc.timerfd_create(_CLOCK_MONOTONIC, _NONBLOCK_CLOEXEC)
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self.start_s = time.monotonic() + 0.02
        period_ns, start_ns = round(self.period_s * 1e9), round(self.start_s * 1e9)
        spec = struct.pack(
            "=qqqq", period_ns // 10**9, period_ns % 10**9, start_ns // 10**9, start_ns % 10**9
        )  # struct itimerspec: interval, then the first time
        if libc.timerfd_settime(self._descriptor, _ABSOLUTE, spec, None):
            raise OSError(ctypes.get_errno(), "timerfd_settime")
        asyncio.get_running_loop().add_reader(self._descriptor, self._on_timer)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)

    async def ticks(self) -> int:
        """Wait for the next tick; return how many ticks have passed since the last return, 1 when on time."""
        await self._due.wait()
        self._due.clear()
        passed, self._ticks = self._ticks, 0
        return passed

    def _on_timer(self) -> None:
        self._ticks += struct.unpack("=Q", os.read(self._descriptor, 8))[0]
        self._due.set()
