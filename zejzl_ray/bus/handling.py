"""Which message a piece of code is handling: what it sends is caused by it, and what it awaits holds up its slot."""

import asyncio
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import CoroutineType
from typing import Any, Final

from zejzl_ray.bus.message import Message

MAX_STACK_CHARACTERS: Final = 4000
_MOST_FRAMES: Final = 50


@dataclass(slots=True, eq=False)
class Handling:
    """One handler at work.

    Attributes:
        agent: whose handler.
        slot: which of the agent's handlers that may run at once, from 0.
        message: what it handles.
        awaits: correlation ids of the requests that it waits for; kept by the bus.
        since_s: wall time at which it began.
        task: in which it runs.
        is_answered: the handler has answered the request itself.
    """

    agent: str
    slot: int
    message: Message
    awaits: set[str] = field(default_factory=set)
    since_s: float = 0.0
    task: "asyncio.Task[Any] | None" = None
    is_answered: bool = False

    def trace(self, message: Message) -> None:
        """Let a message say that it was sent because of this one, unless it says something already."""
        if not message.caused_by:
            message.caused_by = self.message.id
        if message.traceparent is None:
            message.traceparent = self.message.traceparent

    def stack(self) -> str:
        """Return where it stands, innermost line last; empty when that is not known."""
        return "" if self.task is None else stack_of(self.task)


current: Final[ContextVar[Handling | None]] = ContextVar("zejzl_handling", default=None)


class Handlings:
    """The handlers at work in one process, by agent; runners keep it, the search for deadlocks reads it."""

    def __init__(self) -> None:
        self._slots: dict[str, int] = {}
        # agent -> slot -> what that slot does
        self._at_work: dict[str, dict[int, Handling]] = {}

    def open(self, agent: str, slots: int) -> None:
        """Tell how many handlers of an agent may run at once; again: the new number counts."""
        self._slots[agent] = slots
        self._at_work.setdefault(agent, {})

    def close(self, agent: str) -> None:
        """Forget an agent; safe to repeat."""
        self._slots.pop(agent, None)
        self._at_work.pop(agent, None)

    def begin(self, handling: Handling) -> None:
        """Note a handler that starts."""
        self._at_work.setdefault(handling.agent, {})[handling.slot] = handling

    def end(self, handling: Handling) -> None:
        """Note that it ended; safe to repeat."""
        slots = self._at_work.get(handling.agent)
        if slots is not None and slots.get(handling.slot) is handling:
            del slots[handling.slot]

    def slots(self, agent: str) -> int | None:
        """Return how many handlers may run at once; None for an agent without a runner."""
        return self._slots.get(agent)

    def of(self, agent: str) -> tuple[Handling, ...]:
        """Return what an agent is handling now."""
        return tuple(self._at_work.get(agent, {}).values())

    def __iter__(self) -> Iterator[Handling]:
        for slots in self._at_work.values():
            yield from tuple(slots.values())


def stack_of(task: "asyncio.Task[Any]") -> str:
    """Return the lines in which a waiting task stands, innermost last, at most 4,000 characters (the innermost ones).

    ``Task.get_stack`` tells the outermost frame only; this follows what each coroutine awaits.
    """
    lines: list[str] = []
    awaited: object = task.get_coro()
    while awaited is not None and len(lines) < _MOST_FRAMES:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None)
        if frame is None:
            break
        lines.append(f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_qualname}")
        awaited = (
            awaited.cr_await if isinstance(awaited, CoroutineType) else getattr(awaited, "gi_yieldfrom", None)
        )
    return "\n".join(lines)[-MAX_STACK_CHARACTERS:]
