"""Time as a dependency: real code gets ``SystemClock``, tests get ``zejzl_ray.testing.ManualClock``."""

import time
from typing import Protocol


class Clock(Protocol):
    """Where a component takes its time from."""

    def now_s(self) -> float:
        """Return the wall time, seconds since the epoch."""
        ...

    def monotonic_s(self) -> float:
        """Return a time that never goes back, seconds from an arbitrary start."""
        ...


class SystemClock:
    """The clock of the machine."""

    def now_s(self) -> float:
        """Return the wall time, seconds since the epoch."""
        return time.time()

    def monotonic_s(self) -> float:
        """Return the monotonic time of this process, in seconds."""
        return time.monotonic()
