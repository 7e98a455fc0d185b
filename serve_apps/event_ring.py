"""The last changes of the registry, for watchers. Pure data."""

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice

from zejzl_ray.contracts.orchestrator import AgentEvent


class RingEntry:
    """One change and, after the first use, its JSON."""

    __slots__ = ("_body", "event")

    def __init__(self, event: AgentEvent) -> None:
        self.event = event
        self._body: bytes | None = None

    @property
    def body(self) -> bytes:
        """JSON of the event; made once, however many watch."""
        if self._body is None:
            self._body = self.event.model_dump_json().encode()
        return self._body


class EventRing:
    """Every change after ``floor``, oldest first; forgets the oldest beyond its size.

    Args:
        kept_events: how many changes are kept at most.
    """

    def __init__(self, kept_events: int) -> None:
        self._entries: deque[RingEntry] = deque()
        self._kept_events = kept_events
        self.floor = 0

    def reset(self, revision: int) -> None:
        """Forget everything; what happens after ``revision`` will be added."""
        self._entries.clear()
        self.floor = revision

    def add(self, events: Iterable[AgentEvent]) -> None:
        """Add changes, in order."""
        for event in events:
            self._entries.append(RingEntry(event))
        while len(self._entries) > self._kept_events:
            self.floor = self._entries.popleft().event.revision

    def after(self, revision: int, limit: int) -> Sequence[RingEntry] | None:
        """Return up to ``limit`` changes after a revision; None when some of them are no longer kept."""
        if revision < self.floor:
            return None
        # watchers are nearly always close to the end, so count back from there
        skipped = len(self._entries)
        for entry in reversed(self._entries):
            if entry.event.revision <= revision:
                break
            skipped -= 1
        return list(islice(self._entries, skipped, skipped + limit))
