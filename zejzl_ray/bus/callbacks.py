"""Callbacks that are given an agent's mail."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Final

from zejzl_ray.bus.concurrency import ConcurrencyLimit
from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.bus.message import Message
from zejzl_ray.bus.post_office import PostOffice
from zejzl_ray.errors import BusClosed, InvalidInput, RequestTimedOut, UnknownAgent
from zejzl_ray.log import get_logger

Callback = Callable[[Message], Awaitable[Any] | Any]
MAX_CALLBACKS: Final = 1000
log = get_logger("zejzl.bus")


class CallbackHandle:
    """One subscription of a callback."""

    def __init__(self, cancel: Callable[[], object]) -> None:
        self._cancel = cancel

    def cancel(self) -> None:
        """Have the callback called no more; safe to repeat."""
        self._cancel()


async def call_safely(
    callback: Callable[[Any], Awaitable[Any] | Any],
    argument: object,
    limit_s: float | None = None,
    **fields: object,
) -> None:
    """Call a function and await what it returns; what it raises is logged with ``fields``.

    Only the end of the running task goes through, not that of a task the callback waits for.
    """
    try:
        result = callback(argument)
        if inspect.isawaitable(result):
            async with asyncio.timeout(limit_s):
                await result
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        log.exception("a callback failed", **fields)
    except Exception:
        log.exception("a callback failed", **fields)


class CallbackRunner:
    """Reads the mail of one agent and gives each message to all callbacks, in the order of their registration.

    A callback that fails is logged, and the next one is called. It ends with the last callback, or with the mailbox; a
    callback that runs then is not interrupted when it was the last one that was cancelled.
    """

    def __init__(self, office: PostOffice, agent: str, limit: ConcurrencyLimit) -> None:
        self._office = office
        self._agent = agent
        self._limit = limit
        self._callbacks: dict[int, Callback] = {}
        self._next = 0
        self._task: asyncio.Task[None] | None = None
        self._is_calling = False

    def add(self, callback: Callback) -> CallbackHandle:
        """Add a callback, a plain function or a coroutine function.

        Raises:
            InvalidInput: it is no function.
            RuntimeError: no event loop runs.
        """
        if not callable(callback):
            raise InvalidInput(f"A callback of {self._agent} is {callback!r}.", "Give a function.")
        number, self._next = self._next, self._next + 1
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(
                self._run(), name=f"callbacks of {self._agent}"
            )
        self._callbacks[number] = callback
        return CallbackHandle(lambda: self._remove(number))

    def stop(self) -> None:
        """Stop reading, and end the callback that runs; safe to repeat."""
        self._callbacks.clear()
        task, self._task = self._task, None
        if task is not None and task is not asyncio.current_task():
            task.cancel()

    def _remove(self, number: int) -> None:
        self._callbacks.pop(number, None)
        if not self._callbacks and not self._is_calling:
            self.stop()

    async def _run(self) -> None:
        while self._callbacks:
            try:
                message = await self._office.receive(self._agent)
            except RequestTimedOut:
                continue
            except (BusClosed, UnknownAgent):
                return
            try:
                async with self._limit.slot():
                    await self._call(message)
            except asyncio.CancelledError:
                if not self._is_calling:  # it has not come to that
                    self._give_back(message)
                raise
            finally:
                self._is_calling = False

    async def _call(self, message: Message) -> None:
        self._is_calling = True
        for number, callback in tuple(self._callbacks.items()):
            if number in self._callbacks:
                await call_safely(callback, message, agent=self._agent, message_type=message.message_type)

    def _give_back(self, message: Message) -> None:
        box = self._office.find(self._agent)
        if box is not None:
            box.put_back(message, box.taken)
        else:
            detail = f"{self._agent} stopped before it read it"
            self._office.lose(message, DeadLetterReason.MAILBOX_CLOSED, detail)
