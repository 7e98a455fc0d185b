"""Callbacks that are given an agent's mail."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Final

from zejzl_ray.bus.concurrency import ConcurrencyLimit
from zejzl_ray.bus.message import Message
from zejzl_ray.bus.post_office import PostOffice
from zejzl_ray.errors import BusClosed, RequestTimedOut, UnknownAgent
from zejzl_ray.log import get_logger

Callback = Callable[[Message], Awaitable[Any] | Any]
MAX_CALLBACKS: Final = 1000
log = get_logger("zejzl.bus")


class CallbackHandle:
    """One subscription of a callback."""

    def __init__(self, cancel: Callable[[], None]) -> None:
        self._cancel = cancel

    def cancel(self) -> None:
        """Have the callback called no more; safe to repeat."""
        self._cancel()


class CallbackRunner:
    """Reads the mail of one agent and gives each message to all callbacks, in the order of their registration.

    A callback that fails is logged, and the next one is called. It ends with the last callback, or with the mailbox.
    """

    def __init__(self, office: PostOffice, agent: str, limit: ConcurrencyLimit) -> None:
        self._office = office
        self._agent = agent
        self._limit = limit
        self._callbacks: dict[int, Callback] = {}
        self._next = 0
        self._task: asyncio.Task[None] | None = None

    def add(self, callback: Callback) -> CallbackHandle:
        """Add a callback, a plain function or a coroutine function.

        Raises:
            RuntimeError: no event loop runs.
        """
        number, self._next = self._next, self._next + 1
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(
                self._run(), name=f"callbacks of {self._agent}"
            )
        self._callbacks[number] = callback
        return CallbackHandle(lambda: self._remove(number))

    def stop(self) -> None:
        """Stop reading; safe to repeat."""
        self._callbacks.clear()
        if self._task is not None:
            self._task.cancel()

    def _remove(self, number: int) -> None:
        self._callbacks.pop(number, None)
        if not self._callbacks:
            self.stop()

    async def _run(self) -> None:
        while True:
            try:
                message = await self._office.receive(self._agent)
            except RequestTimedOut:
                continue
            except (BusClosed, UnknownAgent):
                return
            async with self._limit.slot():
                for callback in tuple(self._callbacks.values()):
                    try:
                        result = callback(message)
                        if inspect.isawaitable(result):
                            await result
                    except Exception:
                        log.exception(
                            "a callback failed", agent=self._agent, message_type=message.message_type
                        )
