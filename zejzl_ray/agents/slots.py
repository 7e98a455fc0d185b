"""The slots of an agent: as many handlers as may run at once, each taking the next message when it is free."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Final

from zejzl_ray.bus.message import Message
from zejzl_ray.errors import BusClosed, RequestTimedOut, UnknownAgent

CANCEL_S: Final = 2.0  # how long a handler may take to end once it is cancelled


class Slots:
    """Takes mail and has it handled in ``count`` tasks; while there is none, they wait and cost nothing.

    Args:
        name: of the agent, for the names of the tasks.
        count: how many.
        receive: returns the next message; with 0 s only one that is there.
        handle: handles one; what it raises ends the slots.
        around: entered once in each task, around all it does.
        on_failure: called once with what ended them.
    """

    def __init__(
        self,
        name: str,
        count: int,
        receive: Callable[[float | None], Awaitable[Message]],
        handle: Callable[[int, Message], Awaitable[None]],
        around: Callable[[], AbstractContextManager[None]],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self._name = name
        self._count = count
        self._receive = receive
        self._handle = handle
        self._around = around
        self._on_failure = on_failure
        self._is_open = False
        self._is_draining = False
        self._has_failed = False
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._idle: set[int] = set()
        self._busy: dict[int, Message] = {}

    @property
    def busy(self) -> int:
        """How many handlers run now."""
        return len(self._busy)

    def open(self) -> None:
        """Take mail; safe to repeat."""
        self._is_open = True
        for slot in range(self._count):
            self._start(slot, self._serve)

    def shut(self) -> None:
        """Take no more mail; handlers that run go on."""
        self._is_open = False
        for slot in self._idle:
            self._tasks[slot].cancel()  # it only waits for mail; the bus keeps what it was about to get

    async def ended(self, timeout_s: float) -> bool:
        """Wait until the handlers that run have ended, after ``shut``; False when some have not."""
        tasks = set(self._tasks.values())
        return not tasks or not (await asyncio.wait(tasks, timeout=timeout_s))[1]

    async def drain(self, timeout_s: float) -> bool:
        """Handle what is in the mailbox, after ``ended``; False when there was more than the time allowed."""
        self._is_draining = True
        for slot in range(self._count):
            self._start(slot, self._empty)
        return await self.ended(timeout_s)

    async def cancel(self) -> list[Message]:
        """End everything now; return what was being handled. A handler that goes on all the same is left alone."""
        self._is_open = self._is_draining = False
        interrupted = list(self._busy.values())
        tasks = set(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CANCEL_S)
        return interrupted

    def _start(self, slot: int, work: Callable[[int], Awaitable[None]]) -> None:
        if slot in self._tasks or self._has_failed:
            return
        task = asyncio.get_running_loop().create_task(self._inside(slot, work), name=f"{self._name}[{slot}]")
        self._tasks[slot] = task
        task.add_done_callback(lambda done: self._ended(slot, done))

    async def _inside(self, slot: int, work: Callable[[int], Awaitable[None]]) -> None:
        with self._around():
            await work(slot)

    def _ended(self, slot: int, task: "asyncio.Task[None]") -> None:
        if self._tasks.get(slot) is task:
            del self._tasks[slot]
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._has_failed:
            self._has_failed = True
            self._is_open = False
            self._on_failure(error)
        elif self._is_open and error is None:  # it was shut and opened again before it had ended
            self._start(slot, self._serve)

    async def _serve(self, slot: int) -> None:
        while self._is_open:
            self._idle.add(slot)
            try:
                message = await self._receive(None)
            except RequestTimedOut:
                continue
            finally:
                self._idle.discard(slot)
            await self._work(slot, message)

    async def _empty(self, slot: int) -> None:
        while self._is_draining:
            try:
                message = await self._receive(0.0)
            except (RequestTimedOut, BusClosed, UnknownAgent):
                return
            await self._work(slot, message)

    async def _work(self, slot: int, message: Message) -> None:
        self._busy[slot] = message
        try:
            await self._handle(slot, message)
        finally:
            if self._busy.get(slot) is message:
                del self._busy[slot]
