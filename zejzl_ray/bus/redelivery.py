"""When mail that is sent at least once is sent, sent again, and given up. Sender's side; no clock, no I/O."""

import math
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from zejzl_ray.bus.course import Course, RedeliveryOptions, Tracked
from zejzl_ray.bus.dead_letters import DeadLetterReason


@dataclass(frozen=True, slots=True)
class DueMail:
    """What is to be done now.

    Attributes:
        send: receiver -> sequences to send, ascending; they are under way from now on.
        dead: sequence -> why it is given up; the caller settles them.
    """

    send: dict[str, list[int]]
    dead: dict[int, DeadLetterReason]


class Redelivery:
    """The messages of one outbox that are not settled, and when each of them is to be sent.

    A message *waits* from its commit on, is *under way* once ``due`` has returned it, *taken* when a process has put it
    into a mailbox or holds it already, and *settled* in the end. Mail of one receiver is sent in the order of its
    sequences: when one is not taken, those behind it wait too, and one at a time is tried until one is taken. Its
    deadline counts while it waits: a process that has taken it gives it up itself, or handles it at this moment.
    Nothing is held against a receiver for being slow: only the end of its process counts as a delivery in vain.

    Args:
        options: when to send again.
        roll: returns a number from 0 to below 1; for the jitter.
    """

    def __init__(
        self, options: RedeliveryOptions | None = None, *, roll: Callable[[], float] = random.random
    ) -> None:
        self._options = options or RedeliveryOptions()
        self._roll = roll
        self._tracked: dict[int, Tracked] = {}
        self._courses: dict[str, Course] = {}  # by receiver
        self._ready: dict[str, Course] = {}
        self._look_at_s = math.inf

    def __len__(self) -> int:
        """Return how many messages are not settled."""
        return len(self._tracked)

    @property
    def has_ready(self) -> bool:
        """Whether ``due`` has something to send without waiting."""
        return bool(self._ready)

    def track(self, sequence: int, to_agent: str, deadline_s: float | None, now_s: float) -> None:
        """Take up a message that is committed; sequences come ascending.

        Args:
            sequence: of the message.
            to_agent: its receiver.
            deadline_s: monotonic time after which nobody wants it, or None.
            now_s: monotonic time.
        """
        course = self._courses.get(to_agent)
        if course is None:
            course = self._courses[to_agent] = Course(to_agent, self._options, self._roll)
        self._tracked[sequence] = course.add(sequence, deadline_s, now_s)
        self._note(course)

    def carried(self, sequences: Iterable[int], host: str) -> None:
        """Learn to which process messages are under way."""
        for tracked in self._known(sequences):
            tracked.last_host = host
            if tracked.host != host:
                tracked.host, tracked.boot = host, ""

    def with_host(self, sequences: Iterable[int], host: str) -> list[int]:
        """Return those that are under way to a process, or that it has taken: of these it may tell what became."""
        return [tracked.sequence for tracked in self._known(sequences) if tracked.host == host]

    def deadline_of(self, sequence: int) -> float | None:
        """Return until when a message is wanted, monotonic time; None for as long as it takes."""
        tracked = self._tracked.get(sequence)
        return tracked.end_at_s if tracked is not None and tracked.has_deadline else None

    def sent_last_to(self, sequences: Iterable[int], host: str) -> list[int]:
        """Return those that went to a process last, also if it did not take them: of these it may ask again."""
        return [tracked.sequence for tracked in self._known(sequences) if tracked.last_host == host]

    def taken(self, sequences: Iterable[int], host: str, boot: str, now_s: float) -> None:
        """Learn that a process has taken messages: it holds them, or has put them into a mailbox now.

        Args:
            sequences: unknown ones are left out.
            host: which process.
            boot: of it: another one after each of its starts.
            now_s: monotonic time.
        """
        taken_by = (host, boot)
        courses = {}
        for tracked in self._known(sequences):
            course = tracked.course
            course.taken(tracked, taken_by, now_s)
            courses[course.agent] = course
        for course in courses.values():
            self._note(course)

    def refused(self, sequences: Iterable[int], now_s: float) -> None:
        """Learn that messages were not taken: they are sent again, one at first, after a wait that grows."""
        for tracked in self._known(sequences):
            tracked.course.refused(tracked, now_s)
            self._note(tracked.course)

    def unsent(self, sequences: Iterable[int], now_s: float) -> None:
        """Learn that messages may not have arrived, as ``refused``; who had taken one before has it still."""
        for tracked in self._known(sequences):
            tracked.course.unsent(tracked, now_s)
            self._note(tracked.course)

    def welcome(self, sequences: Iterable[int], now_s: float) -> None:
        """Learn that a process which does not have these messages would take them: all of their receiver is due."""
        for tracked in self._known(sequences):
            tracked.course.welcome(tracked, now_s)
            self._note(tracked.course)

    def lost(self, host: str, now_s: float, *, but_boot: str = "") -> int:
        """Learn that a process is gone with what it had taken: that is due at once; return how many messages that are.

        Args:
            host: which.
            now_s: monotonic time.
            but_boot: it has been started anew as this one, which has what it has taken and what is under way to it.
        """
        found = [tracked for course in self._courses.values() for tracked in course.at(host, but_boot)]
        for tracked in found:
            tracked.course.lost(tracked, now_s)
            self._note(tracked.course)
        return len(found)

    def settle(self, sequences: Iterable[int]) -> None:
        """Let go of messages that are acknowledged or given up; unknown ones are left out."""
        courses = {}
        for sequence in sequences:
            tracked = self._tracked.pop(sequence, None)
            if tracked is not None:
                course = tracked.course
                course.settle(tracked)
                courses[course.agent] = course
        for course in courses.values():
            self._note(course)
            if course.is_empty:
                del self._courses[course.agent]

    def due(self, now_s: float, limit: int = 1000) -> DueMail:
        """Return what is to be sent now and what is to be given up.

        Args:
            now_s: monotonic time.
            limit: messages to send at most; the others stay due.
        """
        found = DueMail({}, {})
        if now_s >= self._look_at_s:
            self._look_at_s = math.inf
            for course in self._courses.values():
                if course.look_at_s <= now_s:
                    found.dead.update(course.look(now_s))
                self._note(course)
            self.settle(found.dead)
        left = limit
        for course in list(self._ready.values()):
            if left <= 0:
                break
            sequences = found.send[course.agent] = course.take(left, now_s)
            left -= len(sequences)
            del self._ready[course.agent]
            self._note(course)  # with more it stands behind the others now
        return found

    def _known(self, sequences: Iterable[int]) -> Iterable[Tracked]:
        tracked = self._tracked
        return [tracked[sequence] for sequence in sequences if sequence in tracked]

    def _note(self, course: Course) -> None:
        """Learn what an event has changed."""
        if course.is_ready:
            self._ready[course.agent] = course
        else:
            self._ready.pop(course.agent, None)
        if course.look_at_s >= self._look_at_s:
            return
        self._look_at_s = course.look_at_s
