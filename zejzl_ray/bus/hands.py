"""Which task does the work of an agent that has no runner: what it took, and what it waits for.

A runner says which handler sends a request. Without one the task that receives is taken for the one that handles, and
tasks that it starts afterwards work for it.
"""

import asyncio
import weakref
from contextvars import ContextVar
from typing import Any, Final


class Hand:
    """A task that works for agents: it has waited for mail, taken a request, or sent one.

    Attributes:
        ref: gives the task as long as somebody holds it.
    """

    __slots__ = ("ref",)

    def __init__(self, task: "asyncio.Task[Any]") -> None:
        self.ref = weakref.ref(task)

    @property
    def task(self) -> "asyncio.Task[Any] | None":
        """The task as long as it runs; None afterwards."""
        task = self.ref()
        return None if task is None or task.done() else task


_current: Final[ContextVar[Hand | None]] = ContextVar("zejzl_hand", default=None)


def own_hand(loop: asyncio.AbstractEventLoop | None = None) -> Hand | None:
    """Return the hand that the running task is, from now on; None outside of tasks.

    Args:
        loop: the running one, where it is known: to ask for it costs a system call.
    """
    hand = _current.get()
    task = asyncio.current_task(loop)
    if hand is not None and hand.ref() is task:
        return hand
    if task is None:
        return None
    hand = Hand(task)
    _current.set(hand)
    return hand


def hand_at_work(loop: asyncio.AbstractEventLoop | None = None) -> Hand | None:
    """Return whom the running task works for: the one that has started it, or itself; None outside of tasks."""
    hand = _current.get()
    return own_hand(loop) if hand is None or hand.task is None else hand
