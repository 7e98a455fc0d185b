"""Mail that was handed to a handler and is not acknowledged: when it comes again. Receiver's side; no clock, no I/O."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.bus.message import Message
from zejzl_ray.errors import InvalidInput

_MAX_GROWTH: Final = 30


@dataclass(frozen=True, slots=True)
class AckOptions:
    """When mail comes again at its receiver.

    Attributes:
        ack_timeout_s: from handing out on, where nobody handles it any more.
        first_delay_s: after the first nack; doubles with each further one.
        max_delay_s: the longest wait after a nack.
        jitter_ratio: by how much a wait may be longer or shorter.
        max_deliveries: how often a message is handed out in this process before it is given up.
    """

    ack_timeout_s: float = 30.0
    first_delay_s: float = 0.1
    max_delay_s: float = 30.0
    jitter_ratio: float = 0.2
    max_deliveries: int = 16

    def __post_init__(self) -> None:
        """Refuse what would hand out without end, or never."""
        waits = (self.ack_timeout_s, self.first_delay_s, self.max_delay_s)
        if min(waits) <= 0 or not 0 <= self.jitter_ratio < 1 or self.max_deliveries < 1:
            raise InvalidInput(
                f"Mail cannot be handed out again by {self}.",
                "Give times above 0, a jitter from 0 to below 1 and at least one delivery.",
            )


@dataclass(slots=True, eq=False)
class _HandedOut:
    message: Message
    due_at_s: float
    deliveries: int
    is_nacked: bool
    reason: str


@dataclass(frozen=True, slots=True)
class DueAgain:
    """What is to be done now.

    Attributes:
        again: messages to put into their mailboxes again, in the order in which they were handed out first.
        given_up: messages to be given up, with the reason and the words of the last nack.
    """

    again: list[Message]
    given_up: list[tuple[Message, DeadLetterReason, str]]


Key = tuple[str, int]  # origin, sequence


class Unacknowledged:
    """The messages of one agent that were handed out and are neither acknowledged nor given back.

    A message whose handler still runs never comes again, however long it takes. It comes again when it was given back
    with ``nack``, or when ``ack_timeout_s`` is over and nobody handles it: its handler was cancelled, or forgot it.

    Args:
        options: when.
        roll: returns a number from 0 to below 1; for the jitter.
    """

    def __init__(
        self, options: AckOptions | None = None, *, roll: Callable[[], float] = random.random
    ) -> None:
        self._options = options or AckOptions()
        self._roll = roll
        self._out: dict[Key, _HandedOut] = {}
        self._look_at_s = float("inf")

    def __len__(self) -> int:
        """Return how many messages are out."""
        return len(self._out)

    def handed_out(self, origin: str, message: Message, now_s: float) -> None:
        """Note that a message leaves its mailbox.

        Args:
            origin: of the outbox that it came from.
            message: with its sequence.
            now_s: monotonic time.
        """
        key = (origin, message.sequence)
        due_at_s = now_s + self._options.ack_timeout_s
        known = self._out.get(key)
        if known is None:
            self._out[key] = _HandedOut(message, due_at_s, 1, False, "")
        else:
            known.due_at_s, known.is_nacked = due_at_s, False
            known.deliveries += 1
        self._look_at_s = min(self._look_at_s, due_at_s)

    def acknowledged(self, origin: str, sequence: int) -> bool:
        """Forget a message; False when it is not out."""
        return self._out.pop((origin, sequence), None) is not None

    def nacked(self, origin: str, sequence: int, reason: str, now_s: float) -> bool:
        """Note that a message was given back: it comes again after a growing wait; False when it is not out."""
        out = self._out.get((origin, sequence))
        if out is None:
            return False
        options = self._options
        wait_s = min(options.max_delay_s, options.first_delay_s * 2.0 ** min(out.deliveries - 1, _MAX_GROWTH))
        out.due_at_s = now_s + wait_s * (1.0 + options.jitter_ratio * (2.0 * self._roll() - 1.0))
        out.is_nacked, out.reason = True, reason
        self._look_at_s = min(self._look_at_s, out.due_at_s)
        return True

    def due(self, now_s: float, is_handled: Callable[[str, int], bool]) -> DueAgain:
        """Return what comes again now and what is given up; what comes again is out until it is handed out anew.

        Args:
            now_s: monotonic time.
            is_handled: whether a handler runs for a message of (origin, sequence), or it waits in the mailbox again.
        """
        found = DueAgain([], [])
        if now_s < self._look_at_s:
            return found
        options = self._options
        self._look_at_s = float("inf")
        for (origin, sequence), out in list(self._out.items()):
            if out.due_at_s <= now_s:
                if not out.is_nacked and is_handled(origin, sequence):
                    out.due_at_s = now_s + options.ack_timeout_s
                elif out.deliveries >= options.max_deliveries:
                    del self._out[origin, sequence]
                    why = out.reason or "its handler neither finished nor gave it back"
                    found.given_up.append((out.message, DeadLetterReason.NOT_ACKNOWLEDGED, why))
                    continue
                else:
                    found.again.append(out.message)
                    out.is_nacked = False
                    out.due_at_s = now_s + options.ack_timeout_s
            self._look_at_s = min(self._look_at_s, out.due_at_s)
        return found

    def next_at_s(self) -> float | None:
        """Return the monotonic time before which ``due`` returns nothing; None when nothing is out."""
        return self._look_at_s if self._out else None

    def clear(self) -> list[Key]:
        """Forget everything and return it, for the inbox to release; when the mailbox is closed."""
        keys = list(self._out)
        self._out.clear()
        self._look_at_s = float("inf")
        return keys
