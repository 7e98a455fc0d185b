"""The mail of one outbox to one receiver: in order, and one message at a time while it is not taken."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.errors import InvalidInput

_MAX_GROWTH: Final = 30  # doublings; far above every bound


@dataclass(frozen=True, slots=True)
class RedeliveryOptions:
    """When to send again, and how often.

    Attributes:
        first_delay_s: until a receiver that did not take a message is tried again; doubles with each further attempt.
        max_delay_s: the longest wait between two attempts. An attempt is one message, whatever waits behind it.
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
    max_delay_s: float = 2.0
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


class Tracked:
    """One message that is not settled.

    Attributes:
        sequence: of the message.
        course: that it goes.
        host: the process that it is under way to, or that has taken it; empty when there is none.
        last_host: the process that it went to last, also if that did not take it.
        boot: of the process that has taken it; empty when none has, as far as is known.
        deliveries: how many processes have taken it.
    """

    __slots__ = (
        "ask_at_s", "asks", "boot", "course", "deliveries", "end_at_s", "has_deadline", "host", "last_host",
        "sequence", "taken_by",
    )  # fmt: skip

    def __init__(self, sequence: int, course: "Course", end_at_s: float, *, has_deadline: bool) -> None:
        self.sequence = sequence
        self.course = course
        self.end_at_s = end_at_s
        self.has_deadline = has_deadline
        self.host = ""
        self.last_host = ""
        self.boot = ""
        self.taken_by: tuple[str, str] | None = None  # the last one that had taken it
        self.deliveries = 0
        self.asks = 0
        self.ask_at_s = math.inf


class Course:
    """Messages to one receiver that wait, and those that are out: under way, or taken by a process.

    Args:
        agent: the receiver.
        options: when to send again.
        roll: returns a number from 0 to below 1; for the jitter.

    Attributes:
        look_at_s: no time matters before this wall time.
    """

    __slots__ = (
        "_failures", "_is_sorted", "_may_try", "_options", "_out", "_probe", "_roll", "_try_at_s", "_waiting", "agent",
        "look_at_s",
    )  # fmt: skip

    def __init__(self, agent: str, options: RedeliveryOptions, roll: Callable[[], float]) -> None:
        self.agent = agent
        self.look_at_s = math.inf
        self._options = options
        self._roll = roll
        self._waiting: dict[int, Tracked] = {}
        self._out: dict[int, Tracked] = {}
        self._is_sorted = True  # what waits, by sequence
        self._failures = 0  # in a row; above 0 one message at a time goes out: the probe
        self._probe = 0
        self._try_at_s = 0.0
        self._may_try = False  # the time for the next probe has come

    @property
    def is_empty(self) -> bool:
        """Whether everything is settled."""
        return not self._out and not self._waiting

    @property
    def is_ready(self) -> bool:
        """Whether something may be sent now."""
        return bool(self._waiting) and (not self._failures or self._may_try)

    def add(self, sequence: int, deadline_s: float | None, now_s: float) -> Tracked:
        """Take up a new message, which comes after all others."""
        end_at_s = now_s + self._options.give_up_after_s if deadline_s is None else deadline_s
        tracked = Tracked(sequence, self, end_at_s, has_deadline=deadline_s is not None)
        self._wait(tracked)
        return tracked

    def take(self, limit: int, now_s: float) -> list[int]:
        """Take what is to be sent now, ascending: at most ``limit``, or the one that is tried."""
        if not self._is_sorted:
            self._waiting = dict(sorted(self._waiting.items()))
            self._is_sorted = True
        waiting = self._waiting
        if not self._failures:
            taken = list(waiting) if len(waiting) <= limit else list(waiting)[:limit]
        else:
            # One that nobody holds tells more than one that is only asked about.
            self._probe = next((key for key, each in waiting.items() if not each.boot), next(iter(waiting)))
            self._may_try = False
            taken = [self._probe]
        ask_at_s = now_s + self._options.asks_after_s
        for sequence in taken:
            tracked = self._out[sequence] = waiting.pop(sequence)
            tracked.ask_at_s = ask_at_s
        self._look_by(ask_at_s)
        return taken

    def taken(self, tracked: Tracked, taken_by: tuple[str, str], now_s: float) -> None:
        """Learn that a process has taken a message."""
        options = self._options
        if tracked.taken_by != taken_by:
            tracked.taken_by = taken_by
            tracked.deliveries += 1
            tracked.asks = 0
        tracked.host, tracked.boot = taken_by
        tracked.last_host = tracked.host
        if self._waiting.pop(tracked.sequence, None) is not None:  # the answer came late
            self._out[tracked.sequence] = tracked
        tracked.ask_at_s = now_s + self._wait_s(
            options.asks_after_s, options.asks_at_most_every_s, tracked.asks
        )
        tracked.asks += 1
        self._look_by(tracked.ask_at_s)
        self._failures = self._probe = 0  # what was held up goes on

    def refused(self, tracked: Tracked, now_s: float) -> None:
        """Learn that a message was not taken: it is tried again, alone, after a wait that grows."""
        tracked.host = tracked.boot = ""
        if tracked.sequence in self._out:
            self._put_back(tracked)
        if not self._failures or tracked.sequence == self._probe:
            self._fail(now_s)

    def unsent(self, tracked: Tracked, now_s: float) -> None:
        """Learn that a message may not have arrived, as ``refused``; who had taken it before has it still."""
        if not tracked.boot:
            self.refused(tracked, now_s)
        elif tracked.sequence == self._probe:
            self._fail(now_s)

    def welcome(self, tracked: Tracked, now_s: float) -> None:
        """Learn that a process that did not take a message, or does not have it any more, would take it now."""
        self.lost(tracked, now_s)
        self._failures = self._probe = 0

    def lost(self, tracked: Tracked, now_s: float) -> None:
        """Learn that the process that had a message, or was about to get it, has it no more: it is due at once."""
        tracked.host = tracked.boot = ""
        if tracked.sequence in self._out:
            self._put_back(tracked)
        if tracked.sequence == self._probe:
            self._fail(now_s)
        if tracked.deliveries >= self._options.max_deliveries:
            self._look_by(now_s)

    def settle(self, tracked: Tracked) -> None:
        """Let go of a message."""
        if self._out.pop(tracked.sequence, None) is None:
            self._waiting.pop(tracked.sequence, None)
        if tracked.sequence == self._probe:
            self._failures = self._probe = 0

    def at(self, host: str, but_boot: str) -> list[Tracked]:
        """Return what a process had, or was about to get; see ``Redelivery.lost``."""
        return [
            tracked
            for each in (self._waiting, self._out)
            for tracked in each.values()
            if tracked.host == host and (not but_boot or tracked.boot not in ("", but_boot))
        ]

    def look(self, now_s: float) -> dict[int, DeadLetterReason]:
        """See to what time has brought about; return what is to be given up."""
        dead: dict[int, DeadLetterReason] = {}
        self.look_at_s = math.inf
        for tracked in list(self._out.values()):
            if tracked.ask_at_s > now_s:
                self._look_by(tracked.ask_at_s)
                continue
            self._put_back(tracked)
            if tracked.sequence == self._probe:
                self._probe, self._try_at_s = 0, now_s
        for tracked in self._waiting.values():
            if (why := self._why_dead(tracked, now_s)) is not None:
                dead[tracked.sequence] = why
            elif not tracked.boot:
                self._look_by(tracked.end_at_s)
        if self._failures and not self._probe:
            self._may_try = self._try_at_s <= now_s
            if not self._may_try:
                self._look_by(self._try_at_s)
        return dead

    def _wait(self, tracked: Tracked) -> None:
        self._waiting[tracked.sequence] = tracked
        if not tracked.boot:
            self._look_by(tracked.end_at_s)
        if self._failures and not self._probe:
            self._look_by(self._try_at_s)

    def _put_back(self, tracked: Tracked) -> None:
        del self._out[tracked.sequence]
        self._is_sorted = not self._waiting
        self._wait(tracked)

    def _fail(self, now_s: float) -> None:
        options = self._options
        self._try_at_s = now_s + self._wait_s(options.first_delay_s, options.max_delay_s, self._failures)
        self._failures += 1
        self._probe, self._may_try = 0, False
        self._look_by(self._try_at_s)

    def _why_dead(self, tracked: Tracked, now_s: float) -> DeadLetterReason | None:
        if tracked.boot:
            return None
        if tracked.end_at_s <= now_s:
            return DeadLetterReason.EXPIRED if tracked.has_deadline else DeadLetterReason.UNREACHABLE
        if tracked.deliveries >= self._options.max_deliveries:
            return DeadLetterReason.NOT_ACKNOWLEDGED
        return None

    def _look_by(self, at_s: float) -> None:
        if at_s >= self.look_at_s:  # ``min`` costs three times as much, and this is done for every message
            return
        self.look_at_s = at_s

    def _wait_s(self, first_s: float, most_s: float, attempts: int) -> float:
        wait_s = min(most_s, first_s * 2.0 ** min(attempts, _MAX_GROWTH))
        return wait_s * (1.0 + self._options.jitter_ratio * (2.0 * self._roll() - 1.0))
