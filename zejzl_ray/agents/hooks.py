"""Calls into an agent that are not mail: its hooks, each within a time limit."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Final

from zejzl_ray.agents.agent import Agent
from zejzl_ray.bus.dead_letters import DeadLetter
from zejzl_ray.errors import DeadlineExceeded

_MOST_LETTERS: Final = 1000  # calls of on_undelivered that may wait


async def bounded(work: Awaitable[None], agent: str, hook: str, limit_s: float) -> None:
    """Wait for a hook.

    Raises:
        DeadlineExceeded: it took longer; it was cancelled.
        Exception: what it raised.
    """
    try:
        async with asyncio.timeout(limit_s) as scope:
            await work
    except TimeoutError:
        if not scope.expired():
            raise
        raise DeadlineExceeded(
            f"{hook} of {agent} did not end within {limit_s:g} s.", "Do long work in a task of its own."
        ) from None


class UndeliveredMail:
    """Tells an agent of its mail that did not arrive; at most 1,000 calls wait, later ones are left out."""

    def __init__(self, agent: Agent, around: Callable[[], AbstractContextManager[None]]) -> None:
        self._agent = agent
        self._around = around
        self._has_hook = type(agent).on_undelivered is not Agent.on_undelivered
        self._calls: set[asyncio.Task[None]] = set()

    def tell(self, letter: DeadLetter) -> None:
        """Have ``on_undelivered`` called, and return at once."""
        if self._has_hook and len(self._calls) < _MOST_LETTERS:
            call = asyncio.get_running_loop().create_task(self._call(letter))
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)

    def close(self) -> None:
        """End the calls that run."""
        for call in tuple(self._calls):
            call.cancel()

    async def _call(self, letter: DeadLetter) -> None:
        with self._around():
            try:
                await self._agent.on_undelivered(letter)
            except Exception as error:
                self._agent.log.error("on_undelivered failed", exc_info=error)
