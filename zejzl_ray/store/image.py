"""All that one namespace holds at one moment, as records of a form that no implementation owns.

A store of any kind is written out as these records and made again from them: this is what a back-up holds, and how
state moves from one kind of store to another. They come in one order: the head, the ids of the last commits oldest
first, the entries in byte order of their keys, then each log with its entries, logs in byte order of their names.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from zejzl_ray.errors import StoreError
from zejzl_ray.store.operations import MAX_INDEX, MAX_KEY_BYTES

_STEP: Final = 1_000_000  # epochs between two eras: a writer takes one at each start
_ERA_S: Final = 60.0


def epoch_after_restore(epoch: int, now_s: float) -> int:
    """Return an epoch above all that a writer of before can have, also where the store that gave it is lost.

    Epochs come in eras of a million. A restore begins the next era, or that of the minute if it is later: two restores
    of one back-up into an empty store are not of one era, and neither are those who wrote after them.

    Args:
        epoch: the highest that is known.
        now_s: wall time.
    """
    return max(era_of(epoch) + 1, int(now_s // _ERA_S)) * _STEP


def era_of(epoch: int) -> int:
    """Return the era of an epoch: 0 before the first restore; at most one above the minute, or above the era before."""
    return epoch // _STEP


@dataclass(frozen=True, slots=True)
class ImageHead:
    """What comes first.

    Attributes:
        epoch: of the last writer.
        commits: how many there have been.
    """

    namespace: str
    epoch: int
    commits: int


@dataclass(frozen=True, slots=True)
class ImageCommitId:
    """One of the last 1,024 commits: its id and its number."""

    commit_id: str
    number: int


@dataclass(frozen=True, slots=True)
class ImageEntry:
    """A key with its version and expiry, wall time; those whose expiry has passed may be among them."""

    key: str
    version: int
    expires_at_s: float | None
    value: bytes


@dataclass(frozen=True, slots=True)
class ImageLog:
    """A log; the entries that are still kept follow it and end at ``last_index``."""

    log: str
    last_index: int


@dataclass(frozen=True, slots=True)
class ImageLogEntry:
    """The next entry of the log before it."""

    index: int
    value: bytes


Record = ImageHead | ImageCommitId | ImageEntry | ImageLog | ImageLogEntry
_RANKS: dict[type[Record], int] = {
    ImageHead: 0,
    ImageCommitId: 1,
    ImageEntry: 2,
    ImageLog: 3,
    ImageLogEntry: 3,
}


@dataclass(slots=True)
class ImageFigures:
    """What went by; whole when the records have ended."""

    namespace: str = ""
    epoch: int = 0
    commits: int = 0
    entries: int = 0
    logs: int = 0
    log_entries: int = 0


def checked(records: Iterable[Record], figures: ImageFigures) -> Iterator[Record]:
    """Hand records on while they are what a store can hold, and count them.

    Args:
        records: in their order.
        figures: filled while records go by.

    Raises:
        StoreError: names the record that cannot be; what came before it was handed on already.
    """
    check = ImageCheck(figures)
    for record in records:
        check.take(record)
        yield record
    check.end()


class ImageCheck:
    """What must hold from one record to the next.

    Args:
        figures: filled while records go by.
    """

    def __init__(self, figures: ImageFigures) -> None:
        self._figures = figures
        self._rank = -1
        self._last_number = 0
        self._ids: set[str] = set()
        self._last_key = b""
        self._last_log = b""
        self._log: ImageLog | None = None
        self._last_index: int | None = None

    def take(self, record: Record) -> None:
        """Count the next record.

        Raises:
            StoreError: it cannot stand there.
        """
        rank = _RANKS[type(record)]
        if (self._rank < 0) != (rank == 0) or rank < self._rank:
            self._refuse(f"{type(record).__name__} at a wrong place")
        self._rank = rank
        match record:
            case ImageHead():
                self._take_head(record)
            case ImageCommitId():
                self._take_commit_id(record)
            case ImageEntry():
                self._take_entry(record)
            case ImageLog():
                self._take_log(record)
            case ImageLogEntry():
                self._take_log_entry(record)

    def end(self) -> None:
        """Check what only the end can show; raises as ``take``."""
        if self._rank < 0:
            self._refuse("nothing, not even a head")
        self._end_log()

    def _take_head(self, head: ImageHead) -> None:
        if not (0 <= head.epoch < MAX_INDEX and 0 <= head.commits < MAX_INDEX):
            self._refuse(f"epoch {head.epoch}, {head.commits} commits")
        self._figures.namespace = head.namespace
        self._figures.epoch, self._figures.commits = head.epoch, head.commits

    def _take_commit_id(self, record: ImageCommitId) -> None:
        if not self._last_number < record.number <= self._figures.commits or record.commit_id in self._ids:
            self._refuse(f"commit id {record.commit_id!r} with the number {record.number}")
        self._ids.add(record.commit_id)
        self._last_number = record.number

    def _take_entry(self, entry: ImageEntry) -> None:
        key = entry.key.encode()
        if not self._last_key < key or len(key) > MAX_KEY_BYTES:
            self._refuse(f"the key {entry.key[:64]!r} after {self._last_key.decode()[:64]!r}")
        if not 1 <= entry.version < MAX_INDEX or not math.isfinite(entry.expires_at_s or 0.0):
            self._refuse(f"the key {entry.key!r} has version {entry.version}, expiry {entry.expires_at_s}")
        self._last_key = key
        self._figures.entries += 1

    def _take_log(self, log: ImageLog) -> None:
        self._end_log()
        name = log.log.encode()
        if not self._last_log < name or len(name) > MAX_KEY_BYTES or not 0 <= log.last_index < MAX_INDEX:
            self._refuse(f"the log {log.log[:64]!r} with the last index {log.last_index}")
        self._last_log, self._log, self._last_index = name, log, None
        self._figures.logs += 1

    def _take_log_entry(self, entry: ImageLogEntry) -> None:
        log = self._log
        if log is None:
            self._refuse(f"entry {entry.index} of no log")
        elif entry.index < 1 or (self._last_index is not None and entry.index != self._last_index + 1):
            self._refuse(f"the log {log.log!r} has entry {entry.index} after {self._last_index}")
        self._last_index = entry.index
        self._figures.log_entries += 1

    def _end_log(self) -> None:
        log = self._log
        if log is not None and self._last_index is not None and self._last_index != log.last_index:
            self._refuse(f"the log {log.log!r} ends at {self._last_index} instead of {log.last_index}")

    def _refuse(self, what: str) -> None:
        raise StoreError(
            f"the image of {self._figures.namespace or 'a namespace'} holds what no store can: {what}.",
            "Take another back-up.",
        )
