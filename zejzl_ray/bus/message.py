"""The envelope of all mail.

The first eight fields, their order and their defaults are those of the old bus, so that code written for it goes on
to work. The rest is filled in by the bus where the sender leaves it out.
"""

import math
import reprlib
import time
from collections.abc import Mapping
from enum import IntEnum
from typing import Any, Final

import msgspec

from zejzl_ray.errors import InvalidInput
from zejzl_ray.ids import new_id


class MessagePriority(IntEnum):
    """How urgent mail is; a lower number is served first."""

    HIGH = 0
    NORMAL = 1
    LOW = 2


class Guarantee(IntEnum):
    """What a sender is promised."""

    AT_MOST_ONCE = 0
    AT_LEAST_ONCE = 1


HIGH: Final = MessagePriority.HIGH
NORMAL: Final = MessagePriority.NORMAL
LOW: Final = MessagePriority.LOW
MOST_LETTERS: Final = 256  # of a name or an id
_PRIORITIES: Final = {0: HIGH, 1: NORMAL, 2: LOW}
_NEVER_NONE: Final = frozenset({"id", "topic", "caused_by"})


class Message(msgspec.Struct, array_like=True):
    """One piece of mail.

    Inside of a process a message travels as the object that it is: whoever changes ``content`` after sending changes
    what the receiver reads. Between processes it is copied.

    Attributes:
        from_agent: who sends it.
        to_agent: whose mailbox it goes to; ignored by broadcasts and topics.
        message_type: free text, such as ``task`` or ``observation``.
        content: what is said; between processes only what MessagePack can hold.
        priority: HIGH, NORMAL or LOW; an integer 0 to 2 is taken as one.
        correlation_id: ties a reply to its request.
        timestamp: wall time of construction, seconds since the epoch; only told, never used for order.
        metadata: free form.
        id: unique; empty until the bus gives one.
        deadline_at_s: wall time after which nobody wants it any more; it goes to the dead letters then.
        guarantee: at most once, or at least once.
        topic: the topic it was published on; empty for mail to one agent.
        traceparent: W3C trace context.
        caused_by: id of the message that led to it.
        is_reply: it answers a request, so it is matched by ``correlation_id`` and not queued.
        sent_at_s: stamped by the bus: monotonic time of this process; wall time while under way between processes.
        sequence: position in its sender's outbox where it is sent at least once; 0 otherwise.
        expires_s: stamped by the bus: the deadline as monotonic time of this process, so that a step of its clock
            changes nothing; None without one, and while under way between processes.
    """

    from_agent: str
    to_agent: str
    message_type: str
    content: dict[str, Any]
    priority: MessagePriority = NORMAL
    correlation_id: str | None = None
    timestamp: float = msgspec.field(default_factory=time.time)
    metadata: dict[str, Any] = msgspec.field(default_factory=dict)
    id: str = ""
    deadline_at_s: float | None = None
    guarantee: Guarantee = Guarantee.AT_MOST_ONCE
    topic: str = ""
    traceparent: str | None = None
    caused_by: str = ""
    is_reply: bool = False
    sent_at_s: float = 0.0
    sequence: int = 0
    expires_s: float | None = None

    def __post_init__(self) -> None:
        """Take a plain integer for a priority; refuse anything else at once, not when it is sent."""
        if type(self.priority) is not MessagePriority:
            self.priority = priority_of(self.priority)

    def __lt__(self, other: object) -> bool:
        """Order by priority, then by timestamp, as the old bus did; the bus itself keeps the order of sending."""
        if not isinstance(other, Message):
            return NotImplemented
        return (self.priority, self.timestamp) < (other.priority, other.timestamp)

    def to_dict(self) -> dict[str, Any]:
        """Return the old fields: from, to, type, content, priority (its name), correlation_id, timestamp, metadata."""
        return {
            "from": self.from_agent,
            "to": self.to_agent,
            "type": self.message_type,
            "content": self.content,
            "priority": self.priority.name,
            "correlation_id": self.correlation_id,
            "timestamp": self.timestamp,
            "metadata": self.metadata,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Message":
        """Return the message that ``to_dict`` wrote.

        Raises:
            InvalidInput: a field is missing or of the wrong type; names it.
        """
        known = {"from", "to", "type", "content", "priority", "correlation_id", "timestamp", "metadata"}
        missing = {"from", "to", "type", "content"} - values.keys()
        if missing or values.keys() - known:
            raise InvalidInput(
                f"A message has the fields {', '.join(sorted(known))}; "
                f"missing: {', '.join(sorted(missing)) or 'none'}, "
                f"unknown: {', '.join(sorted(map(str, values.keys() - known))) or 'none'}."
            )
        message = cls(
            from_agent=values["from"],
            to_agent=values["to"],
            message_type=values["type"],
            content=values["content"],
            priority=priority_of(values.get("priority", NORMAL)),
            correlation_id=values.get("correlation_id"),
            timestamp=values.get("timestamp", time.time()),
            metadata=values.get("metadata", {}),
        )
        check(message)
        return message

    def copied(self, to_agent: str) -> "Message":
        """Return the same mail for another receiver: with dictionaries of its own (one level deep) and no id."""
        copy = msgspec.structs.replace(self, to_agent=to_agent, id="", sequence=0)
        copy.content = dict(self.content)
        copy.metadata = dict(self.metadata)
        return copy


def new_message_id() -> str:
    """Return an id that no other message of any process has."""
    return new_id("msg")


def priority_of(value: object) -> MessagePriority:
    """Return the priority that a number 0 to 2, a name or a priority means.

    Raises:
        InvalidInput: it means none.
    """
    if isinstance(value, str) and value.upper() in MessagePriority.__members__:
        return MessagePriority[value.upper()]
    if (
        isinstance(value, int)
        and not isinstance(value, bool)
        and (found := _PRIORITIES.get(value)) is not None
    ):
        return found
    raise InvalidInput(f"{_shown(value)} is no priority.", "Use MessagePriority.HIGH, NORMAL or LOW.")


def check(message: Message) -> None:
    """Refuse an envelope with a field of the wrong type, which only an assignment or old code can make.

    Raises:
        InvalidInput: names the field.
    """
    for field in ("from_agent", "to_agent", "message_type"):
        value = getattr(message, field)
        if type(value) is not str or not 0 < len(value) <= MOST_LETTERS:
            raise InvalidInput(
                f"{field} of a message is {_shown(value)}.", f"Give a text of 1 to {MOST_LETTERS} characters."
            )
    if not isinstance(message.content, dict):
        raise InvalidInput(f"content of a message is {type(message.content).__name__}.", "Give a dictionary.")
    if not isinstance(message.metadata, dict):
        raise InvalidInput(
            f"metadata of a message is {type(message.metadata).__name__}.", "Give a dictionary."
        )
    message.priority = priority_of(message.priority)
    for field in ("correlation_id", "id", "topic", "traceparent", "caused_by"):
        value = getattr(message, field)
        if (value is not None or field in _NEVER_NONE) and (
            type(value) is not str or len(value) > MOST_LETTERS
        ):
            raise InvalidInput(
                f"{field} of a message is {_shown(value)}.",
                f"Give a text of at most {MOST_LETTERS} characters.",
            )
    for field in ("timestamp", "sequence"):
        if not isinstance(value := getattr(message, field), int | float):
            raise InvalidInput(f"{field} of a message is {_shown(value)}.", "Give a number.")
    if message.guarantee not in (Guarantee.AT_MOST_ONCE, Guarantee.AT_LEAST_ONCE):
        raise InvalidInput(f"{_shown(message.guarantee)} is no guarantee.", "Use Guarantee.AT_LEAST_ONCE.")
    deadline_s = message.deadline_at_s
    if deadline_s is not None and not (isinstance(deadline_s, int | float) and math.isfinite(deadline_s)):
        raise InvalidInput(
            f"deadline_at_s of a message is {_shown(deadline_s)}.", "Give seconds since the epoch."
        )


def _shown(value: object) -> str:
    return reprlib.repr(value)
