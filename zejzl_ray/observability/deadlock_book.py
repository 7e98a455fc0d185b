"""The deadlocks that were found: the last ones in memory, the last of these in the store."""

from collections import deque
from collections.abc import Iterator
from typing import Final

from zejzl_ray.commands.records import RecordDraft, Records
from zejzl_ray.contracts.observability_hub import DeadlockBatch, DeadlockEvent, DeadlockPage
from zejzl_ray.contracts.waits import Deadlock
from zejzl_ray.observability.deadlock_records import (
    COUNTS_KEY,
    DeadlockCounts,
    DeadlockRecord,
    key_of_revision,
)

KEPT: Final = 1000
STORED: Final = 100


class DeadlockBook:
    """A ring of deadlocks; counters that go on over restarts.

    Args:
        kept: how many are kept in memory.
        stored: how many of these are kept in the store.

    Attributes:
        detected: how many were found ever; the revision of the newest.
        broken: of these, how many were ended by failing a request.
    """

    def __init__(self, *, kept: int = KEPT, stored: int = STORED) -> None:
        self._events: deque[DeadlockEvent] = deque(maxlen=kept)
        self._stored = stored
        self.detected = 0
        self.broken = 0
        self._written = 0  # the newest revision that is in the store

    @property
    def is_written(self) -> bool:
        """Whether the store knows all of it."""
        return self._written == self.detected

    @property
    def oldest_revision(self) -> int:
        """Revision of the oldest one that is kept; 0 where none is."""
        return self._events[0].revision if self._events else 0

    def load(self, records: Records, now_s: float) -> None:
        """Take over what an earlier process has stored."""
        counts = records.get(DeadlockCounts, COUNTS_KEY, now_s) or DeadlockCounts()
        events = sorted(
            (record.event for _, record in records.all(DeadlockRecord, now_s)), key=lambda each: each.revision
        )
        self._events.clear()
        self._events.extend(events)
        self.detected = self._written = counts.detected
        self.broken = counts.broken

    def add(self, deadlock: Deadlock) -> DeadlockEvent:
        """Number a deadlock and keep it."""
        self.detected += 1
        self.broken += bool(deadlock.broken)
        event = DeadlockEvent(revision=self.detected, deadlock=deadlock)
        self._events.append(event)
        return event

    def write(self, draft: RecordDraft) -> int:
        """Put into a draft what the store does not know yet; return the revision for ``mark_written``."""
        oldest = self.detected - self._stored
        for event in self._events:
            if event.revision > max(self._written, oldest):
                draft.put(key_of_revision(event.revision), DeadlockRecord(event=event))
        for key, record in list(draft.all(DeadlockRecord)):
            if record.event.revision <= oldest:
                draft.delete(DeadlockRecord, key)
        draft.put(COUNTS_KEY, DeadlockCounts(detected=self.detected, broken=self.broken))
        return self.detected

    def mark_written(self, revision: int) -> None:
        """Say that everything up to a revision is in the store."""
        self._written = max(self._written, revision)

    def page(self, agent: str | None, before_revision: int | None, limit: int) -> DeadlockPage:
        """Return deadlocks, newest first."""
        return DeadlockPage(
            events=tuple(_first(self._newest_first(agent, before_revision), limit)),
            revision=self.detected,
            oldest_kept_revision=self.oldest_revision,
        )

    def after(self, revision: int, limit: int) -> DeadlockBatch:
        """Return what was found after a revision, in order; what is not kept any more is left out."""
        events = tuple(_first((each for each in self._events if each.revision > revision), limit))
        return DeadlockBatch(events=events, revision=events[-1].revision if events else self.detected)

    def _newest_first(self, agent: str | None, before_revision: int | None) -> Iterator[DeadlockEvent]:
        for event in reversed(self._events):
            if before_revision is not None and event.revision >= before_revision:
                continue
            if agent is None or agent in event.deadlock.agents:
                yield event


def _first(events: Iterator[DeadlockEvent], limit: int) -> Iterator[DeadlockEvent]:
    for _, event in zip(range(limit), events, strict=False):
        yield event
