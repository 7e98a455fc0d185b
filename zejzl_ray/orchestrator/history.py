"""The last changes, by revision and by agent: what ``watch``, ``history`` and ``explain`` read."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from zejzl_ray.errors import RevisionCompacted
from zejzl_ray.orchestrator.changes import Change


@dataclass(frozen=True, slots=True)
class LogSpan:
    """Which changes one entry of the stored log holds."""

    index: int
    count: int


class History:
    """Changes in the order of revisions, without gaps; the oldest are dropped by whole entries of the stored log.

    Args:
        length: changes to keep at least.
    """

    def __init__(self, length: int) -> None:
        self._length = length
        self._slack = max(1, length // 10)
        self._changes: list[Change] = []
        self._dropped = 0  # leading elements of _changes that are gone already
        self._spans: deque[LogSpan] = deque()
        # agent name -> its changes, oldest first
        self._by_name: dict[str, list[Change]] = {}

    def __len__(self) -> int:
        """Return the number of kept changes."""
        return len(self._changes) - self._dropped

    def add(self, span: LogSpan, changes: Sequence[Change]) -> None:
        """Add the changes of one log entry."""
        self._spans.append(span)
        self._changes.extend(changes)
        for change in changes:
            self._by_name.setdefault(change.name, []).append(change)

    def trim_through(self, more: int) -> int:
        """Return the log index up to which entries may be forgotten once ``more`` changes are added; 0 for none.

        Entries go in batches of a tenth of the length, so that most commits have nothing to trim.
        """
        surplus = len(self) + more - self._length
        if surplus < self._slack:
            return 0
        through = 0
        for span in self._spans:
            surplus -= span.count
            if surplus < 0:
                break
            through = span.index
        return through

    def trim(self, through: int) -> None:
        """Forget the changes of all log entries up to and including ``through``."""
        while self._spans and self._spans[0].index <= through:
            for _ in range(self._spans.popleft().count):
                gone = self._changes[self._dropped]
                self._dropped += 1
                of_agent = self._by_name[gone.name]
                of_agent.pop(0)
                if not of_agent:
                    del self._by_name[gone.name]
        if self._dropped * 2 > len(self._changes):
            del self._changes[: self._dropped]
            self._dropped = 0

    def oldest_revision(self, current: int) -> int:
        """Return the oldest kept revision; with nothing kept the one after ``current``."""
        return self._changes[self._dropped].revision if len(self) else current + 1

    def after(self, revision: int, limit: int, current: int) -> Sequence[Change]:
        """Return up to ``limit`` changes after a revision, oldest first; 0 means from the oldest that is kept.

        Args:
            revision: up to which the caller knows everything.
            limit: changes at most.
            current: the registry's revision.

        Raises:
            RevisionCompacted: changes after ``revision`` are no longer kept, or it was never reached.
        """
        oldest = self.oldest_revision(current)
        if revision > current:
            raise RevisionCompacted(
                f"Revision {revision} was never reached; the registry is at {current}.",
                "Read the snapshot again and watch from its revision.",
            )
        if 0 < revision < oldest - 1:
            raise RevisionCompacted(
                f"Changes after revision {revision} are no longer kept; the oldest is {oldest}.",
                "Read the snapshot again and watch from its revision.",
            )
        start = self._dropped + max(0, revision - oldest + 1)
        return self._changes[start : start + limit]

    def last(self, name: str) -> Change | None:
        """Return the last kept change of an agent; None when none is kept."""
        changes = self._by_name.get(name)
        return changes[-1] if changes else None

    def newest_first(self, name: str | None, before: int | None, limit: int) -> list[Change]:
        """Return up to ``limit`` changes below revision ``before``, newest first, of one agent or of all."""
        found: list[Change] = []
        for change in self._backwards(name):
            if before is not None and change.revision >= before:
                continue
            found.append(change)
            if len(found) == limit:
                break
        return found

    def _backwards(self, name: str | None) -> Iterator[Change]:
        if name is not None:
            return reversed(self._by_name.get(name, []))
        return (self._changes[position] for position in range(len(self._changes) - 1, self._dropped - 1, -1))

    def validate(self) -> None:
        """Check that revisions follow each other and that both views hold the same changes."""
        kept = self._changes[self._dropped :]
        assert all(second.revision == first.revision + 1 for first, second in pairwise(kept))
        assert sum(span.count for span in self._spans) == len(kept)
        assert sorted(change.revision for changes in self._by_name.values() for change in changes) == [
            change.revision for change in kept
        ]
