"""What was sent lately: a ring of the last messages of one process, to look at and to replay."""

from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from zejzl_ray.bus.message import Message
from zejzl_ray.bus.topics import fits
from zejzl_ray.clock import Clock, SystemClock
from zejzl_ray.errors import InvalidInput, RevisionCompacted

MAX_HISTORY: Final = 1_000_000
_MOST_DEPTH: Final = 32  # deeper, what is inside of a content is shared


class History:
    """The last messages in the order in which they were added; the oldest falls out.

    It keeps the messages themselves, not copies: who changes one after sending changes what is told here.

    Args:
        size: how many messages are kept, 0 (none) to 1,000,000.
        clock: turns the monotonic times of sending into wall time.

    Attributes:
        add: takes one message; costs no more than appending to a deque.
    """

    def __init__(self, size: int, clock: Clock | None = None) -> None:
        if type(size) is not int or not 0 <= size <= MAX_HISTORY:
            raise InvalidInput(
                f"The size of a history is {size!r}.", f"Give a number from 0 to {MAX_HISTORY}."
            )
        self._kept: deque[Message] = deque(maxlen=size)
        self._clock = clock or SystemClock()
        self.add: Final[Callable[[Message], None]] = self._kept.append

    def __len__(self) -> int:
        return len(self._kept)

    def entries(self, limit: int | None = None) -> list[dict[str, Any]]:
        """Return the newest messages without their content, oldest first.

        Args:
            limit: how many at most; all that are kept when None.

        Returns:
            Dictionaries with the keys timestamp, from, to, type, priority (its name) and correlation_id.

        Raises:
            InvalidInput: the limit is negative or no number.
        """
        _check_limit(limit)
        kept = list(self._kept)
        newest = kept if limit is None else kept[max(0, len(kept) - limit) :]
        return [_entry(message) for message in newest]

    def replay(
        self,
        *,
        since_s: float | None = None,
        after_id: str | None = None,
        to_agent: str | None = None,
        topic: str | None = None,
        limit: int = 1000,
    ) -> list[Message]:
        """Return copies of the oldest messages that fit all of what is given, oldest first.

        The next page begins behind the id of the last message of this one. Dictionaries and lists of a copy are its
        own; other objects in them are shared.

        Args:
            since_s: those sent at this wall time or later.
            after_id: those sent after this message.
            to_agent: those to this agent.
            topic: those published on a topic that this pattern means.
            limit: how many at most.

        Raises:
            RevisionCompacted: the message ``after_id`` is not kept (any more).
            InvalidInput: the limit or the topic cannot be used.
        """
        _check_limit(limit)
        kept = list(self._kept)
        if after_id is not None:
            kept = kept[self._place_of(after_id, kept) + 1 :]
        if since_s is not None:
            now_s, monotonic_s = self._clock.now_s(), self._clock.monotonic_s()
            kept = [message for message in kept if _sent_at_s(message, now_s, monotonic_s) >= since_s]
        if to_agent is not None:
            kept = [message for message in kept if message.to_agent == to_agent]
        if topic is not None:
            fitting = {name for name in {message.topic for message in kept} if name and fits(topic, name)}
            kept = [message for message in kept if message.topic in fitting]
        return [_copied(message) for message in kept[:limit]]

    def _place_of(self, message_id: str, kept: list[Message]) -> int:
        for index, message in enumerate(kept):
            if message_id and message.id == message_id:
                return index
        if not kept:
            raise RevisionCompacted(
                f"The message {message_id!r} is not in the history, which is empty.", "Replay without an id."
            )
        oldest = kept[0]
        since_s = _sent_at_s(oldest, self._clock.now_s(), self._clock.monotonic_s())
        raise RevisionCompacted(
            f"The message {message_id!r} is not in the history (any more). It keeps {len(kept)} messages and goes back "
            f"to {oldest.id!r} of {_told(since_s)}.",
            "Replay from there, or without an id.",
        )


def _entry(message: Message) -> dict[str, Any]:
    return {
        "timestamp": message.timestamp,
        "from": message.from_agent,
        "to": message.to_agent,
        "type": message.message_type,
        "priority": message.priority.name,
        "correlation_id": message.correlation_id,
    }


def _sent_at_s(message: Message, now_s: float, monotonic_s: float) -> float:
    """Return when a message was sent, as wall time."""
    if message.sent_at_s <= 0:
        return message.timestamp  # the bus did not stamp it
    if message.sent_at_s > monotonic_s:
        return message.sent_at_s  # under way to another process: it is wall time already
    return now_s - (monotonic_s - message.sent_at_s)


def _copied(message: Message) -> Message:
    copy = msgspec.structs.replace(message)
    copy.content = _own(message.content)
    copy.metadata = _own(message.metadata)
    return copy


def _own(value: Any, depth: int = 0) -> Any:
    if depth < _MOST_DEPTH:
        if type(value) is dict:
            return {key: _own(part, depth + 1) for key, part in value.items()}
        if type(value) is list:
            return [_own(part, depth + 1) for part in value]
    return value


def _told(at_s: float) -> str:
    try:
        return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d %H:%M:%S}Z"
    except (ValueError, OverflowError, OSError):  # a sender may write any timestamp
        return f"{at_s} s"


def _check_limit(limit: int | None) -> None:
    if limit is not None and (type(limit) is not int or limit < 0):
        raise InvalidInput(f"A limit is {limit!r}.", "Give 0 or a positive number.")
