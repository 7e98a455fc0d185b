"""How often each provider of models may be called, by one process."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Final

from zejzl_ray.clock import Clock, SystemClock
from zejzl_ray.errors import Overloaded
from zejzl_ray.resilience.three_tier import LimiterStats, RateLimitConfig, ThreeTierLimiter

DEFAULT_LIMITS: Final = RateLimitConfig()
# providers that are not named have the default
PROVIDER_LIMITS: Final[Mapping[str, RateLimitConfig]] = MappingProxyType(
    {
        "chatgpt": RateLimitConfig(60, 1_000, 10_000),
        "claude": RateLimitConfig(50, 1_000, 10_000),
        "gemini": RateLimitConfig(60, 1_500, 15_000),
        "grok": RateLimitConfig(50, 1_000, 10_000),
        "deepseek": RateLimitConfig(60, 1_000, 10_000),
        "qwen": RateLimitConfig(60, 1_000, 10_000),
        "zai": RateLimitConfig(60, 1_000, 10_000),
    }
)


class ProviderLimits:
    """A limiter for each provider, made when it is first asked for; names are the same in any case of letters.

    For one event loop. The counts are those of this process: several processes that call the same provider have its
    limit each.

    Args:
        limits: by provider, in small letters.
        clock: its monotonic time is used.
        sleep: waits so many seconds.
        max_providers: most providers; a further one is refused, for a forgotten limiter would forget its counts.
    """

    def __init__(
        self,
        limits: Mapping[str, RateLimitConfig] = PROVIDER_LIMITS,
        *,
        clock: Clock | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        max_providers: int = 256,
    ) -> None:
        self._limits = limits
        self._clock = clock or SystemClock()
        self._sleep = sleep
        self._max_providers = max_providers
        self._limiters: dict[str, ThreeTierLimiter] = {}

    def limiter(self, provider: str) -> ThreeTierLimiter:
        """Return the limiter of a provider.

        Raises:
            Overloaded: there are too many providers.
        """
        name = provider.lower()
        found = self._limiters.get(name)
        if found is None:
            if len(self._limiters) >= self._max_providers:
                raise Overloaded(
                    f"More than {self._max_providers} providers are limited.", "Are these names of providers?"
                )
            config = self._limits.get(name, DEFAULT_LIMITS)
            found = self._limiters[name] = ThreeTierLimiter(config, clock=self._clock, sleep=self._sleep)
        return found

    async def acquire(self, provider: str, timeout: float | None = 30.0) -> bool:
        """Have one call of a provider granted within ``timeout`` seconds; False: nothing was used up."""
        return await self.limiter(provider).acquire(timeout)

    async def admit(self, provider: str, timeout: float | None = 30.0) -> None:
        """Do what ``acquire`` does, and raise ``RateLimited`` where it says no."""
        await self.limiter(provider).admit(provider, timeout)

    def stats(self) -> dict[str, LimiterStats]:
        """Return the figures of every provider that was asked for."""
        return {name: limiter.stats() for name, limiter in sorted(self._limiters.items())}
