"""When mail that is sent at least once is sent again, and when it is given up. Sender's side; no clock, no I/O."""

import math
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.errors import InvalidInput

_MAX_GROWTH: Final = 30  # doublings; far above every bound


@dataclass(frozen=True, slots=True)
class RedeliveryOptions:
    """When to send again, and how often.

    Attributes:
        first_delay_s: after the first attempt that failed; doubles with each further one.
        max_delay_s: the longest wait between two attempts.
        asks_after_s: how long a receiver that has taken a message may be silent before it is sent again. That does no
            harm: a receiver that still holds it does not take it twice. Doubles, up to ``asks_at_most_every_s``.
        asks_at_most_every_s: the longest wait between two of these.
        jitter_ratio: by how much a wait may be longer or shorter, so that not everything comes back at once.
        max_deliveries: to how many processes a message is given before it is given up as ``not_acknowledged``: each of
            them ended before it acknowledged it.
        give_up_after_s: how long mail without a deadline waits for a receiver that is nowhere, before it is given up as
            ``unreachable``.
    """

    first_delay_s: float = 0.2
    max_delay_s: float = 30.0
    asks_after_s: float = 30.0
    asks_at_most_every_s: float = 300.0
    jitter_ratio: float = 0.2
    max_deliveries: int = 16
    give_up_after_s: float = 86_400.0

    def __post_init__(self) -> None:
        """Refuse what would send without end, or never."""
        waits = (
            self.first_delay_s,
            self.max_delay_s,
            self.asks_after_s,
            self.asks_at_most_every_s,
            self.give_up_after_s,
        )
        if min(waits) <= 0 or not 0 <= self.jitter_ratio < 1 or self.max_deliveries < 1:
            raise InvalidInput(
                f"Mail cannot be sent again by {self}.",
                "Give times above 0, a jitter from 0 to below 1 and at least one delivery.",
            )


@dataclass(slots=True, eq=False)
class _Tracked:
    due_at_s: float
    deadline_at_s: float | None
    tracked_at_s: float
    place: str = ""  # the process that has taken it; empty when none has
    attempts: int = 0  # since it was taken last
    deliveries: int = 0


@dataclass(slots=True, eq=False)
class _Receiver:
    messages: dict[int, _Tracked] = field(default_factory=dict)  # by sequence, ascending
    is_away: bool = False
    look_at_s: float = math.inf  # nothing is to be done before


@dataclass(frozen=True, slots=True)
class DueMail:
    """What is to be done now.

    Attributes:
        send: receiver -> sequences to send, ascending.
        dead: sequence -> why it is given up; the caller settles them.
    """

    send: dict[str, list[int]]
    dead: dict[int, DeadLetterReason]


class Redelivery:
    """The messages of one outbox that are not settled, and when each of them is to be sent.

    A message is *tracked* from its commit on, *sent* when a receiving process has taken it, *failed* when it was
    refused or may not have arrived, and *settled* in the end. Its deadline counts while nobody holds it: a process that
    holds it gives it up itself, or handles it at this moment. Nothing is held against a receiver for being slow: only
    the end of its process counts as a delivery in vain.

    Args:
        options: when to send again.
        roll: returns a number from 0 to below 1; for the jitter.
    """

    def __init__(
        self, options: RedeliveryOptions | None = None, *, roll: Callable[[], float] = random.random
    ) -> None:
        self._options = options or RedeliveryOptions()
        self._roll = roll
        self._receivers: dict[str, _Receiver] = {}
        self._agent_of: dict[int, str] = {}

    def __len__(self) -> int:
        """Return how many messages are not settled."""
        return len(self._agent_of)

    def track(
        self,
        sequence: int,
        to_agent: str,
        deadline_at_s: float | None,
        now_s: float,
        *,
        is_under_way: bool = False,
    ) -> None:
        """Take up a message that is committed; sequences come ascending.

        Args:
            sequence: of the message.
            to_agent: its receiver.
            deadline_at_s: wall time after which nobody wants it.
            now_s: wall time.
            is_under_way: the caller sends it itself, now; otherwise it is due at once.
        """
        receiver = self._receivers.get(to_agent)
        if receiver is None:
            receiver = self._receivers[to_agent] = _Receiver()
        tracked = _Tracked(now_s, deadline_at_s, now_s)
        if is_under_way:
            tracked.attempts = 1
            tracked.due_at_s = now_s + self._options.asks_after_s
        receiver.messages[sequence] = tracked
        self._agent_of[sequence] = to_agent
        self._look_by(receiver, tracked)

    def sent(self, sequences: Iterable[int], place: str, now_s: float) -> None:
        """Learn that a process has taken messages: it holds them, or has put them into a mailbox now.

        Args:
            sequences: unknown ones are left out.
            place: which process: another name after each of its starts.
            now_s: wall time.
        """
        options = self._options
        for sequence in sequences:
            receiver, tracked = self._find(sequence)
            if receiver is None or tracked is None:
                continue
            if tracked.place != place:
                tracked.place, tracked.attempts = place, 0
                tracked.deliveries += 1
            tracked.due_at_s = now_s + self._wait_s(
                options.asks_after_s, options.asks_at_most_every_s, tracked.attempts
            )
            tracked.attempts += 1
            self._look_by(receiver, tracked)

    def failed(self, sequences: Iterable[int], now_s: float) -> None:
        """Learn that messages were refused, or may not have arrived: they are sent again after a growing wait."""
        options = self._options
        for sequence in sequences:
            receiver, tracked = self._find(sequence)
            if receiver is None or tracked is None:
                continue
            tracked.place = ""
            tracked.due_at_s = now_s + self._wait_s(
                options.first_delay_s, options.max_delay_s, tracked.attempts
            )
            tracked.attempts += 1
            self._look_by(receiver, tracked)

    def place_lost(self, place: str, now_s: float) -> int:
        """Learn that a process is gone with what it held: that is due at once; return how many messages that are."""
        lost = 0
        for receiver in self._receivers.values():
            for tracked in receiver.messages.values():
                if tracked.place == place:
                    tracked.place, tracked.attempts, tracked.due_at_s = "", 0, now_s
                    receiver.look_at_s = now_s
                    lost += 1
        return lost

    def receiver_away(self, agent: str) -> None:
        """Learn that nobody holds an agent's mailbox: nothing is sent to it until it is found; deadlines count on."""
        if (receiver := self._receivers.get(agent)) is not None:
            receiver.is_away = True

    def receiver_found(self, agent: str, now_s: float) -> None:
        """Learn that an agent's mailbox is reachable, in its old process or in another: what waits is due at once.

        What another process than the present one holds must have been reported with ``place_lost`` or ``failed``.
        """
        receiver = self._receivers.get(agent)
        if receiver is None:
            return
        receiver.is_away = False
        receiver.look_at_s = now_s
        for tracked in receiver.messages.values():
            if not tracked.place:
                tracked.due_at_s, tracked.attempts = min(tracked.due_at_s, now_s), 0

    def agent_moved(self, agent: str, now_s: float) -> None:
        """Learn that an agent's mailbox is in another process now: all that its inbox does not know is due at once."""
        receiver = self._receivers.get(agent)
        if receiver is not None:
            for tracked in receiver.messages.values():
                tracked.place = ""
            self.receiver_found(agent, now_s)

    def settle(self, sequences: Iterable[int]) -> None:
        """Let go of messages that are acknowledged or given up; unknown ones are left out."""
        for sequence in sequences:
            agent = self._agent_of.pop(sequence, None)
            if agent is None:
                continue
            receiver = self._receivers[agent]
            del receiver.messages[sequence]
            if not receiver.messages:
                del self._receivers[agent]

    def due(self, now_s: float, limit: int = 1000) -> DueMail:
        """Return what is to be sent now and what is to be given up; each once, until its next wait is over.

        Args:
            now_s: wall time.
            limit: messages to send at most; the others stay due.
        """
        found = DueMail({}, {})
        left = limit
        for agent, receiver in list(self._receivers.items()):
            if receiver.look_at_s > now_s:
                continue
            send: list[int] = []
            look_at_s = math.inf
            for sequence, tracked in receiver.messages.items():
                if len(send) >= left:
                    look_at_s = now_s
                    if send:  # the others come first next time
                        self._receivers[agent] = self._receivers.pop(agent)
                    break
                if (why := self._why_dead(tracked, now_s)) is not None:
                    found.dead[sequence] = why
                    continue
                if tracked.due_at_s <= now_s and not receiver.is_away:
                    send.append(sequence)
                    tracked.due_at_s = now_s + self._wait_s(
                        self._options.asks_after_s, self._options.asks_at_most_every_s, tracked.attempts
                    )
                    tracked.attempts += 1
                look_at_s = min(look_at_s, self._next_s(receiver, tracked))
            receiver.look_at_s = look_at_s
            if send:
                found.send[agent] = send
                left -= len(send)
        self.settle(found.dead)
        return found

    def next_at_s(self) -> float | None:
        """Return the wall time before which ``due`` returns nothing; None when nothing is tracked."""
        return min((receiver.look_at_s for receiver in self._receivers.values()), default=None)

    def _find(self, sequence: int) -> tuple[_Receiver, _Tracked] | tuple[None, None]:
        agent = self._agent_of.get(sequence)
        if agent is None:
            return None, None
        receiver = self._receivers[agent]
        return receiver, receiver.messages[sequence]

    def _why_dead(self, tracked: _Tracked, now_s: float) -> DeadLetterReason | None:
        if tracked.place:
            return None
        if self._end_s(tracked) <= now_s:
            return DeadLetterReason.UNREACHABLE if tracked.deadline_at_s is None else DeadLetterReason.EXPIRED
        if tracked.deliveries >= self._options.max_deliveries:
            return DeadLetterReason.NOT_ACKNOWLEDGED
        return None

    def _end_s(self, tracked: _Tracked) -> float:
        deadline_s = tracked.deadline_at_s
        return tracked.tracked_at_s + self._options.give_up_after_s if deadline_s is None else deadline_s

    def _next_s(self, receiver: _Receiver, tracked: _Tracked) -> float:
        """Return when something is to be done for a message; at the latest when it is to be given up."""
        if tracked.place:
            return tracked.due_at_s
        if receiver.is_away:
            return self._end_s(tracked)
        return min(self._end_s(tracked), tracked.due_at_s)

    def _look_by(self, receiver: _Receiver, tracked: _Tracked) -> None:
        receiver.look_at_s = min(receiver.look_at_s, self._next_s(receiver, tracked))

    def _wait_s(self, first_s: float, most_s: float, attempts: int) -> float:
        wait_s = min(most_s, first_s * 2.0 ** min(attempts, _MAX_GROWTH))
        return wait_s * (1.0 + self._options.jitter_ratio * (2.0 * self._roll() - 1.0))
