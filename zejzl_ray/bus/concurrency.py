"""How many callbacks may run at once, and how long others waited for their turn."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from zejzl_ray.log import get_logger

_LONG_WAIT_S: Final = 0.1
log = get_logger("zejzl.bus")


class ConcurrencyLimit:
    """A bound with counters; a slot is held while something is done, never while one waits for mail.

    Args:
        limit: slots, at least 1.

    Attributes:
        limit: slots.
        acquired, released: how often a slot was taken and given back.
        wait_s: time spent waiting for slots, seconds.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.acquired = 0
        self.released = 0
        self.wait_s = 0.0
        self._slots = asyncio.Semaphore(limit)

    def pass_through(self) -> None:
        """Count a slot that was taken and given back at once."""
        self.acquired += 1
        self.released += 1

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold a slot."""
        started_s = time.perf_counter()
        async with self._slots:
            waited_s = time.perf_counter() - started_s
            self.wait_s += waited_s
            self.acquired += 1
            if waited_s > _LONG_WAIT_S:
                log.warning("[CONCURRENCY] waited for a slot", waited_s=round(waited_s, 3), limit=self.limit)
            try:
                yield
            finally:
                self.released += 1

    def stats(self) -> dict[str, float]:
        """Return the counters, with the names of the old bus."""
        return {
            "acquired": float(self.acquired),
            "released": float(self.released),
            "active": float(self.acquired - self.released),
            "total_wait_time": self.wait_s,
            "avg_wait_time": self.wait_s / max(1, self.acquired),
            "semaphore_limit": float(self.limit),
        }
