"""Mail that nobody got: kept for a while, counted for ever, each with its true reason."""

import inspect
import sys
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Any, Final

import msgspec

from zejzl_ray.bus.message import Message
from zejzl_ray.errors import InvalidInput
from zejzl_ray.log import get_logger

DEFAULT_SIZE: Final = 10_000
DEFAULT_BYTES: Final = 64 * 1024 * 1024
_MAX_LISTENERS: Final = 1000
_SAMPLES: Final = (
    32,
    8,
    4,
    1,
    1,
    1,
)  # items weighed of a container in each depth; the others are taken to be alike
_LOG_EVERY: Final = 1000  # failures of one listener; a storm of dead letters must not become one of log lines

_log = get_logger("bus")


class DeadLetterReason(StrEnum):
    """Why mail did not reach anybody."""

    EXPIRED = "expired"
    UNKNOWN_AGENT = "unknown_agent"
    MAILBOX_FULL = "mailbox_full"
    DROPPED_LOW = "dropped_low"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    UNPROVED = "unproved"
    MAILBOX_CLOSED = "mailbox_closed"
    NOT_ACKNOWLEDGED = "not_acknowledged"
    LATE_REPLY = "late_reply"
    NOT_SERIALISABLE = "not_serialisable"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One message that did not arrive.

    Attributes:
        message: the message as it was sent.
        reason: why.
        detail: more words for a person; may be empty.
        at_s: wall time at which it was given up.
    """

    message: Message
    reason: DeadLetterReason
    detail: str
    at_s: float


class Listening:
    """A listener's place; ``cancel`` ends it."""

    __slots__ = ("_callback", "_failures", "_is_running", "_listeners")

    def __init__(self, callback: Callable[[DeadLetter], None], listeners: dict[int, "Listening"]) -> None:
        self._callback = callback
        self._listeners = listeners
        self._failures = 0
        self._is_running = False

    def cancel(self) -> None:
        """End it: the callback is not called any more. Safe to repeat."""
        self._listeners.pop(id(self), None)

    def tell(self, letter: DeadLetter) -> None:
        """Call the listener; its failure is logged. A listener that is being called is left out."""
        if self._is_running:  # its own mail came back: telling it would send the next
            return
        self._is_running = True
        try:
            self._callback(letter)
        except Exception:
            if self._failures % _LOG_EVERY == 0:
                _log.exception(
                    "a listener of dead letters failed",
                    reason=letter.reason.value,
                    failures=self._failures + 1,
                )
            self._failures += 1
        finally:
            self._is_running = False


class DeadLetters:
    """The dead letters of one process: a ring of the last ones, and counts of all.

    Args:
        size: how many letters are kept, at least 1.
        max_bytes: about how much memory their contents may take together; the oldest go first. A letter that alone is
            above it is kept without its content and metadata.
    """

    def __init__(self, size: int = DEFAULT_SIZE, max_bytes: int = DEFAULT_BYTES) -> None:
        if type(size) is not int or size < 1 or type(max_bytes) is not int or max_bytes < 1:
            raise InvalidInput(
                f"Dead letters cannot be kept with size {size!r} and max_bytes {max_bytes!r}.",
                "Give positive numbers.",
            )
        self._size = size
        self._max_bytes = max_bytes
        self._kept: deque[tuple[DeadLetter, int]] = deque()
        self._bytes = 0
        self._counts: Counter[DeadLetterReason] = Counter()
        self._listeners: dict[int, Listening] = {}

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def kept_bytes(self) -> int:
        """About how much memory the contents of the kept letters take."""
        return self._bytes

    def add(
        self, message: Message, reason: DeadLetterReason, detail: str = "", now_s: float = 0.0
    ) -> DeadLetter:
        """Keep and count a message that did not arrive, and tell the listeners; never raises because of them."""
        weight_bytes = _weight(message.content) + _weight(message.metadata)
        letter = DeadLetter(message, reason, detail, now_s)
        kept = letter
        if weight_bytes > self._max_bytes:
            note = f"content of about {weight_bytes} bytes not kept"
            kept = DeadLetter(
                msgspec.structs.replace(message, content={}, metadata={}),
                reason,
                f"{detail}; {note}" if detail else note,
                now_s,
            )
            weight_bytes = 0
        self._counts[reason] += 1
        self._kept.append((kept, weight_bytes))
        self._bytes += weight_bytes
        while len(self._kept) > self._size or self._bytes > self._max_bytes:
            self._bytes -= self._kept.popleft()[1]
        for listener in tuple(self._listeners.values()):
            listener.tell(letter)
        return kept

    def letters(
        self, limit: int | None = None, reason: DeadLetterReason | None = None, agent: str | None = None
    ) -> list[DeadLetter]:
        """Return the newest letters, oldest first.

        Args:
            limit: how many at most; all that are kept when None.
            reason: those with this reason.
            agent: those from or to this agent.

        Raises:
            InvalidInput: the limit is negative or no number.
        """
        if limit is not None and (type(limit) is not int or limit < 0):
            raise InvalidInput(f"A limit is {limit!r}.", "Give 0 or a positive number.")
        fitting = (
            letter
            for letter, _ in reversed(self._kept)
            if (reason is None or letter.reason == reason)
            and (agent is None or agent in (letter.message.from_agent, letter.message.to_agent))
        )
        return list(islice(fitting, limit))[::-1]

    def counts(self) -> Counter[DeadLetterReason]:
        """Return how many letters each reason had since the start, also those that are no longer kept."""
        return self._counts.copy()

    def on_letter(self, callback: Callable[[DeadLetter], None]) -> Listening:
        """Call a function with every letter from now on, with the message as it was, until cancelled.

        It is called in the middle of the bus's work, so it must be quick. A failure is logged and stops nobody. While
        a listener is being called, the dead letters that it causes itself are kept and counted, but not told to it.

        Raises:
            InvalidInput: it is a coroutine function or no function, or there are 1,000 listeners already.
        """
        if not callable(callback) or inspect.iscoroutinefunction(callback):
            raise InvalidInput(
                f"A listener of dead letters is {callback!r}.",
                "Give a plain function; it may start a task or put the letter into a queue.",
            )
        if len(self._listeners) >= _MAX_LISTENERS:
            raise InvalidInput(
                f"There are {_MAX_LISTENERS} listeners of dead letters already.", "Cancel those not needed."
            )
        listening = Listening(callback, self._listeners)
        self._listeners[id(listening)] = listening
        return listening


def _weight(value: Any, depth: int = 0) -> int:
    """Return about how many bytes a value takes, without walking all of a large one."""
    own_bytes = sys.getsizeof(value, 64)
    if depth == len(_SAMPLES) or not isinstance(value, dict | list | tuple) or not value:
        return own_bytes
    items = value.items() if isinstance(value, dict) else value
    sample = [_weight(part, depth + 1) for part in islice(items, _SAMPLES[depth])]
    return own_bytes + sum(sample) * len(value) // len(sample)
