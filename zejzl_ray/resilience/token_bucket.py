"""A bucket that fills at a steady rate, and holds so much that a burst of its capacity passes."""

import asyncio
import math
from collections.abc import Awaitable, Callable

from zejzl_ray.clock import Clock, SystemClock
from zejzl_ray.errors import InvalidInput
from zejzl_ray.resilience.admission import Admission


class BucketLevel:
    """What is in the bucket; a ``Limit``. In any time of ``w`` seconds it grants at most capacity + rate x w.

    Args:
        capacity: tokens that it holds when full, which it is at first.
        refill_rate: tokens a second, above 0.
        now_s: monotonic time at the start.
    """

    def __init__(self, capacity: int, refill_rate: float, now_s: float) -> None:
        if capacity < 1:
            raise InvalidInput(f"The capacity of a bucket is {capacity}.", "Give 1 or more.")
        if not (math.isfinite(refill_rate) and refill_rate > 0):
            raise InvalidInput(
                f"The refill rate of a bucket is {refill_rate}.", "Give tokens a second above 0."
            )
        self.capacity = capacity
        self._rate = refill_rate
        self._level = float(capacity)
        self._at_s = now_s

    def available(self, now_s: float) -> float:
        """Return the tokens that are there now."""
        return min(float(self.capacity), self._level + max(0.0, now_s - self._at_s) * self._rate)

    def wait_s(self, tokens: int, now_s: float) -> float:
        """Return seconds until so many tokens are there; takes nothing."""
        return max(0.0, tokens - self.available(now_s)) / self._rate

    def take(self, tokens: int, now_s: float) -> None:
        """Take tokens that are there."""
        self._level = self.available(now_s) - tokens
        self._at_s = max(self._at_s, now_s)


class TokenBucket:
    """A limiter of one bucket, full at first. For one event loop.

    Args:
        capacity: tokens that it holds.
        refill_rate: tokens a second.
        clock: its monotonic time is used.
        sleep: waits so many seconds.

    Raises:
        InvalidInput: a capacity below 1, or a rate that is not above 0.
    """

    def __init__(
        self,
        capacity: int,
        refill_rate: float,
        *,
        clock: Clock | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock = clock or SystemClock()
        self._level = BucketLevel(capacity, refill_rate, self._clock.monotonic_s())
        self._gate = Admission([self._level], self._clock, sleep)

    def available(self) -> float:
        """Return the tokens that are there now."""
        return self._level.available(self._clock.monotonic_s())

    def try_acquire(self, tokens: int = 1) -> bool:
        """Take tokens now, or say no; see ``Admission.try_acquire``."""
        return self._gate.try_acquire(tokens)

    async def acquire(self, tokens: int = 1, timeout: float | None = None) -> bool:
        """Take tokens within ``timeout`` seconds, in turn; see ``Admission.acquire``."""
        return await self._gate.acquire(tokens, timeout)
