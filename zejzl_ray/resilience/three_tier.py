"""Limits a minute, an hour and a day, with a bound on bursts."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypedDict

from zejzl_ray.clock import Clock, SystemClock
from zejzl_ray.resilience.admission import Admission
from zejzl_ray.resilience.sliding_window import SlidingWindow
from zejzl_ray.resilience.token_bucket import BucketLevel

MINUTE_S: Final = 60.0
HOUR_S: Final = 3_600.0
DAY_S: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class RateLimitConfig:
    """How many requests are allowed.

    Attributes:
        requests_per_minute: most in any 60 s.
        requests_per_hour: most in any hour.
        requests_per_day: most in any 24 hours.
        burst_size: most at one moment; the place for a next one comes free after 60 s / requests_per_minute.
    """

    requests_per_minute: int = 60
    requests_per_hour: int = 1_000
    requests_per_day: int = 10_000
    burst_size: int = 10


class LimiterStats(TypedDict):
    """What a limiter has granted and has left; all counts are those of this moment."""

    requests_last_minute: int
    requests_last_hour: int
    requests_last_day: int
    minute_limit: int
    hour_limit: int
    day_limit: int
    minute_tokens_available: float
    hour_tokens_available: float
    day_tokens_available: float


class ThreeTierLimiter:
    """Grants a request when minute, hour, day and burst all allow it; a refused one uses up nothing.

    For one event loop. Its counts begin at zero and are those of this process.

    Args:
        config: the limits.
        clock: its monotonic time is used.
        sleep: waits so many seconds.

    Raises:
        InvalidInput: a limit is below 1.
    """

    def __init__(
        self,
        config: RateLimitConfig | None = None,
        *,
        clock: Clock | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.config = config = config or RateLimitConfig()
        self._clock = clock or SystemClock()
        self._minute = SlidingWindow(config.requests_per_minute, MINUTE_S)
        self._hour = SlidingWindow(config.requests_per_hour, HOUR_S)
        self._day = SlidingWindow(config.requests_per_day, DAY_S)
        burst = BucketLevel(
            config.burst_size, config.requests_per_minute / MINUTE_S, self._clock.monotonic_s()
        )
        self._gate = Admission([burst, self._minute, self._hour, self._day], self._clock, sleep)

    def try_acquire(self) -> bool:
        """Have one request granted now, or say no."""
        return self._gate.try_acquire()

    async def acquire(self, timeout: float | None = 30.0) -> bool:
        """Have one request granted within ``timeout`` seconds, in turn; False: nothing was used up."""
        return await self._gate.acquire(1, timeout)

    async def admit(self, what: str, timeout: float | None = 30.0) -> None:
        """Do what ``acquire`` does, and raise ``RateLimited`` about ``what`` where it says no."""
        await self._gate.admit(what, 1, timeout)

    def retry_after_s(self) -> float:
        """Return seconds until a request would be granted, if nobody else asked; 0 if it would now."""
        return self._gate.retry_after_s()

    def stats(self) -> LimiterStats:
        """Return what was granted and what is left at this moment."""
        now_s = self._clock.monotonic_s()
        return LimiterStats(
            requests_last_minute=self._minute.used(now_s),
            requests_last_hour=self._hour.used(now_s),
            requests_last_day=self._day.used(now_s),
            minute_limit=self._minute.capacity,
            hour_limit=self._hour.capacity,
            day_limit=self._day.capacity,
            minute_tokens_available=self._minute.available(now_s),
            hour_tokens_available=self._hour.available(now_s),
            day_tokens_available=self._day.available(now_s),
        )
