"""Time for tests of retries: pauses take none and are written down, chance is fixed."""

import asyncio

from zejzl_ray.resilience.retry import Pace
from zejzl_ray.testing.clock import ManualClock


class NotedPauses:
    """Pauses that move a manual clock and nothing else."""

    def __init__(self, factor: float = 1.0) -> None:
        self.clock = ManualClock()
        self.slept: list[float] = []
        self.spreads: list[tuple[float, float]] = []
        self._factor = factor

    async def sleep(self, seconds: float) -> None:
        self.sleep_blocking(seconds)
        await asyncio.sleep(0)

    def sleep_blocking(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.clock.advance(seconds)

    def uniform(self, low: float, high: float) -> float:
        self.spreads.append((low, high))
        return self._factor

    @property
    def pace(self) -> Pace:
        return Pace(self.clock, self.sleep, self.sleep_blocking, self.uniform)


class Flaky:
    """A callee that fails as it is told, and then answers."""

    def __init__(self, *outcomes: object) -> None:
        self._outcomes = list(outcomes)
        self.calls = 0

    def blocking(self, *_: object) -> object:
        self.calls += 1
        outcome = self._outcomes.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    async def __call__(self, *args: object) -> object:
        return self.blocking(*args)
