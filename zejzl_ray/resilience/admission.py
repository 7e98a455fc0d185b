"""A gate with several limits: all of them are asked, then all are charged, or none.

The library ``limits`` is not used here: it hits one limit after the other, so a later refusal leaves the earlier
ones charged; it reads the wall clock by itself; and it has no bucket that refills, no burst and no waiting in turn.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

from zejzl_ray.clock import Clock
from zejzl_ray.errors import InvalidInput, RateLimited

# below this a pause is not worth the timer; it also ends waits that rounding leaves a hair above zero
_SHORTEST_PAUSE_S: Final = 0.001


class Limit(Protocol):
    """One limit, as the gate sees it. Pure: time comes in, never below that of an earlier call."""

    @property
    def capacity(self) -> int:
        """Most tokens that it can ever grant at once."""
        ...

    def wait_s(self, tokens: int, now_s: float) -> float:
        """Return seconds until so many tokens can be taken; 0 if they can be now. Takes nothing."""
        ...

    def take(self, tokens: int, now_s: float) -> None:
        """Take tokens; only after ``wait_s`` has said 0 for the same time."""
        ...


class Admission:
    """Grants tokens that every one of its limits has. For one event loop.

    Nothing is awaited between the question and the charge, so a grant is all or nothing, and a refusal, a time-out or
    a cancellation costs nothing. Who waits is served first come, first served; nobody overtakes.

    Args:
        limits: all that have to agree.
        clock: its monotonic time is used.
        sleep: waits so many seconds.
        max_waiters: most callers that wait at once; a further one is refused.
    """

    def __init__(
        self,
        limits: Sequence[Limit],
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        max_waiters: int = 10_000,
    ) -> None:
        self._limits = tuple(limits)
        self._clock = clock
        self._sleep = sleep
        self._max_waiters = max_waiters
        self._capacity = min(limit.capacity for limit in self._limits)
        # asyncio's lock hands over in the order of asking
        self._turn = asyncio.Lock()
        self.waiting = 0

    def retry_after_s(self, tokens: int = 1) -> float:
        """Return seconds until all limits would grant, if nobody else asked; 0 if they would now."""
        now_s = self._clock.monotonic_s()
        return max(limit.wait_s(tokens, now_s) for limit in self._limits)

    def try_acquire(self, tokens: int = 1) -> bool:
        """Take tokens now, or say no; also no while others wait.

        Raises:
            InvalidInput: fewer than 1 token, or more than can ever be granted.
        """
        self._check(tokens)
        return not self.waiting and self._take_now(tokens)

    async def acquire(self, tokens: int = 1, timeout: float | None = None) -> bool:
        """Take tokens as soon as it is this caller's turn and all limits have them.

        Args:
            tokens: 1 or more.
            timeout: seconds to wait at most, those in the queue included; None waits until they are there. It is no
                longer waited where the tokens would come too late.

        Returns:
            Whether they were taken. False: nothing was taken.

        Raises:
            InvalidInput: as ``try_acquire``, or a time-out that is no time.
        """
        if timeout is not None and not timeout >= 0:
            raise InvalidInput(f"The time-out is {timeout}.", "Give seconds, 0 or more, or None.")
        if self.try_acquire(tokens):
            return True
        if timeout == 0 or self.waiting >= self._max_waiters:
            return False
        until_s = math.inf if timeout is None else self._clock.monotonic_s() + timeout
        self.waiting += 1
        try:
            async with asyncio.timeout(timeout) as scope, self._turn:
                return await self._wait(tokens, until_s)
        except TimeoutError:
            if not scope.expired():  # of the injected sleep, not ours to hide
                raise
            return False
        finally:
            self.waiting -= 1

    async def admit(self, what: str, tokens: int = 1, timeout: float | None = None) -> None:
        """Do what ``acquire`` does, and raise where it says no.

        Raises:
            RateLimited: ``what`` is limited; it says after how many seconds to come back.
        """
        if not await self.acquire(tokens, timeout):
            after_s = max(self.retry_after_s(tokens), _SHORTEST_PAUSE_S)
            raise RateLimited(
                f"Too many calls of {what}.", f"Try again in {after_s:.1f} s.", retry_after_s=after_s
            )

    async def _wait(self, tokens: int, until_s: float) -> bool:
        while not self._take_now(tokens):
            pause_s = max(self.retry_after_s(tokens), _SHORTEST_PAUSE_S)
            if self._clock.monotonic_s() + pause_s > until_s:
                return False
            await self._sleep(pause_s)
        return True

    def _take_now(self, tokens: int) -> bool:
        now_s = self._clock.monotonic_s()
        if any(limit.wait_s(tokens, now_s) > 0 for limit in self._limits):
            return False
        for limit in self._limits:
            limit.take(tokens, now_s)
        return True

    def _check(self, tokens: int) -> None:
        if not 1 <= tokens <= self._capacity:
            raise InvalidInput(
                f"{tokens} tokens were asked for.",
                f"Ask for 1 to {self._capacity}: more can never be granted at once.",
            )
