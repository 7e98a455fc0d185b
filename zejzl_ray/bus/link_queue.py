"""What waits for one other process: bounded, and senders that find no room wait in their order."""

import asyncio
import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from zejzl_ray.bus.message import Message
from zejzl_ray.bus.options import BusOptions
from zejzl_ray.errors import BusError, MailboxFull

_WORTH: Final = 512  # messages; a call costs as much as some hundred of them
_WORTH_BYTES: Final = 98_304
Encoded = tuple[Message, bytes]


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    message: Message
    encoded: bytes
    admitted: "asyncio.Future[bool]"


class LinkQueue:
    """Messages as bytes, in the order in which they were sent.

    Args:
        host: where they go.
        options: bounds of what may wait here, and of a batch.

    Attributes:
        held: receiver -> where mail for it that is not kept waits instead: its mailbox is full.
    """

    def __init__(self, host: str, options: BusOptions) -> None:
        self._host = host
        self._options = options
        self._queue: deque[Encoded] = deque()
        self._bytes = 0
        self._senders: deque[_Waiting] = deque()
        self._most, self._most_bytes = options.link_capacity, options.link_bytes
        self._worth = min(_WORTH, options.batch_messages)
        self._worth_bytes = min(_WORTH_BYTES, options.batch_bytes)
        self.held: dict[str, LinkQueue] = {}

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def may_be_full(self) -> bool:
        """Whether there may be a message that does not fit."""
        most = self._options
        return bool(self._queue) and (
            bool(self._senders)
            or len(self._queue) >= most.link_capacity
            or self._bytes + most.max_message_bytes > most.link_bytes
        )

    @property
    def is_worth_a_call(self) -> bool:
        """Whether there is so much that a batch of it goes while another one is under way."""
        return len(self._queue) >= self._worth or self._bytes >= self._worth_bytes

    def offer(self, message: Message, encoded: bytes) -> bool:
        """Queue a message; False when there is no room for it, or others wait for room."""
        if self.held and (held := self._held(message)) is not None:
            return held.offer(message, encoded)
        queue, size = self._queue, self._bytes + len(encoded)
        if self._senders or len(queue) >= self._most or size > self._most_bytes:  # as ``_fits``
            return False
        queue.append((message, encoded))
        self._bytes = size
        return True

    async def enqueue(self, message: Message, encoded: bytes, timeout_s: float) -> None:
        """Queue a message as soon as there is room for it and those who waited before have had theirs.

        Raises:
            MailboxFull: there was no room within the time limit.
            BusError: as ``clear`` was told.
        """
        if (held := self._held(message)) is not None:
            await held.enqueue(message, encoded, timeout_s)
            return
        loop = asyncio.get_running_loop()
        waiting = _Waiting(message, encoded, loop.create_future())
        timer = loop.call_later(timeout_s, _refuse, waiting.admitted)
        self._senders.append(waiting)
        try:
            is_admitted = await waiting.admitted
        finally:
            timer.cancel()
            if waiting in self._senders:
                self._senders.remove(waiting)
                self._admit()
            if waiting.admitted.done() and not waiting.admitted.cancelled():
                waiting.admitted.exception()  # looked at, also when the sender was cancelled meanwhile
        if not is_admitted:
            raise MailboxFull(
                f"The way to {self._host} is full: {len(self._queue)} messages wait for it.",
                "Send later, or spread the agents over more hosts.",
                {"to_agent": message.to_agent, "host": self._host},
            )

    def take(self, allowed: frozenset[str] | None, most_bytes: int = sys.maxsize) -> list[Encoded]:
        """Take a batch from the front.

        Args:
            allowed: only up to the first message of another agent; None: of all agents.
            most_bytes: no more than these, unless the first message alone is larger, where a batch may hold more.
        """
        queue, options = self._queue, self._options
        most, most_bytes = options.batch_messages, min(most_bytes, options.batch_bytes)
        if allowed is None and self._bytes <= most_bytes and len(queue) <= most:
            taken, size = list(queue), self._bytes  # all of it, which is the rule
            queue.clear()
        else:
            taken, size = self._some(allowed, most, most_bytes)
        self._bytes -= size
        if self._senders:
            self._admit()
        return taken

    def _some(self, allowed: frozenset[str] | None, most: int, most_bytes: int) -> tuple[list[Encoded], int]:
        """Take from the front up to a bound; return how many bytes it is, too."""
        taken: list[Encoded] = []
        queue, size = self._queue, 0
        while queue and len(taken) < most:
            message, encoded = queue[0]
            if (taken and size + len(encoded) > most_bytes) or (
                allowed is not None and message.from_agent not in allowed
            ):
                break
            size += len(encoded)
            taken.append(queue.popleft())
        return taken, size

    def put_back(self, taken: Sequence[Encoded]) -> None:
        """Put what was taken back to the front, above the bounds if need be."""
        self._queue.extendleft(reversed(taken))
        self._bytes += sum(len(encoded) for _, encoded in taken)

    def pull(self, is_wanted: Callable[[Message], bool]) -> list[Encoded]:
        """Take some messages out, wherever they stand; the others keep their order."""
        pulled = [each for each in self._queue if is_wanted(each[0])]
        if pulled:
            gone = {id(message) for message, _ in pulled}
            self._queue = deque(each for each in self._queue if id(each[0]) not in gone)
            self._bytes -= sum(len(encoded) for _, encoded in pulled)
            self._admit()
        return pulled

    def clear(self, why: Callable[[Message], BusError]) -> list[Message]:
        """Take everything out; senders that wait for room get an error."""
        for waiting in self._senders:
            if not waiting.admitted.done():
                waiting.admitted.set_exception(why(waiting.message))
        self._senders.clear()
        left = [message for message, _ in self._queue]
        self._queue.clear()
        self._bytes = 0
        return left

    def _held(self, message: Message) -> "LinkQueue | None":
        return None if message.sequence else self.held.get(message.to_agent)

    def _fits(self, encoded: bytes) -> bool:
        return len(self._queue) < self._most and self._bytes + len(encoded) <= self._most_bytes

    def _admit(self) -> None:
        while self._senders and (self._senders[0].admitted.done() or self._fits(self._senders[0].encoded)):
            waiting = self._senders.popleft()
            if not waiting.admitted.done():
                held = self._held(waiting.message)
                to = self if held is None else held
                to._queue.append((waiting.message, waiting.encoded))
                to._bytes += len(waiting.encoded)
                waiting.admitted.set_result(True)


def _refuse(admitted: "asyncio.Future[bool]") -> None:
    if not admitted.done():
        admitted.set_result(False)
