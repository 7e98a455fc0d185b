"""What worlds of offices keep account with: every message that was made, and every task that is under way."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from tests.unit.bus.virtual_time import LoopClock, VirtualLoop
from zejzl_ray.bus.message import Message, MessagePriority


@dataclass
class Sent:
    """What happened to one message, as far as its sender knows."""

    message: Message
    kind: str  # mail, request, reply, copy
    outcome: str = "under way"  # sent, refused, cancelled


S = TypeVar("S", bound=Sent)


class Ledger(Generic[S]):
    """Numbers messages and writes them down; runs tasks in a loop whose time is made up.

    Args:
        loop: of the tasks.
        entry: the class of what is written down.
    """

    def __init__(self, loop: VirtualLoop, entry: type[S]) -> None:
        self.loop = loop
        self.clock = LoopClock(loop)
        self._entry = entry
        self.ledger: dict[int, S] = {}
        self.tasks: dict[asyncio.Task[None], str] = {}

    def pass_time(self, seconds: float) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))

    def tasks_of(self, *kinds: str) -> list["asyncio.Task[None]"]:
        """Return the tasks that are under way, in the order of their beginning."""
        return [task for task, kind in self.tasks.items() if kind in kinds]

    def new(
        self, sender: str, to: str, kind: str, priority: MessagePriority, lives_s: float | None = None
    ) -> Message:
        number = len(self.ledger)
        deadline_s = None if lives_s is None else self.clock.now_s() + lives_s
        message = Message(sender, to, kind, {"number": number}, priority, deadline_at_s=deadline_s)
        self.ledger[number] = self._entry(message, kind)
        return message

    def sent(self, message: Message) -> S:
        return self.ledger[message.content["number"]]

    def spawn(
        self, kind: str, work: Coroutine[Any, Any, None], message: Message | None = None
    ) -> "asyncio.Task[None]":
        """Begin a task; a message that it is about counts as cancelled with it."""
        task = self.loop.create_task(work)
        self.tasks[task] = kind
        task.add_done_callback(self._done)
        if message is not None:
            sent = self.sent(message)
            task.add_done_callback(
                lambda done: setattr(sent, "outcome", "cancelled") if done.cancelled() else None
            )
        return task

    def _done(self, task: "asyncio.Task[None]") -> None:
        del self.tasks[task]
        if not task.cancelled():
            task.result()  # whatever was not expected
