"""Trying again: how often, with which pauses, for how long."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    stop_before_delay,
    stop_never,
    wait_exponential,
    wait_random,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Patience:
    """How persistently something is tried.

    Attributes:
        attempts: most attempts; null leaves the bound to the time limit.
        first_wait_s: pause after the first attempt; each further one is about twice as long.
        longest_wait_s: no pause grows beyond it, except where an error asks for a longer one.
        sleep: waits so many seconds; tests hand in one that does not.
    """

    attempts: int | None = 4
    first_wait_s: float = 0.1
    longest_wait_s: float = 2.0
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def run(
        self,
        ask: Callable[[], Awaitable[T]],
        pause_after: Callable[[BaseException], float | None],
        limit_s: float,
    ) -> T:
        """Return what ``ask`` returns, or raise the error of its last attempt.

        Args:
            ask: one attempt.
            pause_after: the least pause after an error, seconds; null when trying again does not help.
            limit_s: no pause is begun that would end later than this.
        """
        backoff = wait_exponential(self.first_wait_s, self.longest_wait_s) + wait_random(0, self.first_wait_s)

        def pause(state: RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome is not None else None
            least_s = None if error is None else pause_after(error)
            return max(min(backoff(state), self.longest_wait_s), least_s or 0.0)

        retrying = AsyncRetrying(
            sleep=self.sleep,
            stop=stop_before_delay(limit_s)
            | (stop_after_attempt(self.attempts) if self.attempts else stop_never),
            wait=pause,
            retry=retry_if_exception(lambda error: pause_after(error) is not None),
            reraise=True,
        )
        return await retrying(ask)
