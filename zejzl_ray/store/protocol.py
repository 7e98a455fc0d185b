"""What a service may ask of its store, and what the store promises.

A store belongs to one namespace (one service). One writer at a time holds the current epoch; readers see
committed state only. When ``commit`` returns, all of its operations are durable under the implementation's
stated policy; when it raises ``VersionConflict``, ``StaleEpoch`` or ``StoreUnavailable`` before sending, none
has happened. A ``StoreUnavailable`` raised while the answer was on its way leaves it open whether the commit
happened: ``commit_id`` makes repeating it safe.

A writer that was left in the open does one of two things before its next commit: it repeats the same one with
the same ``commit_id``, or it takes a new epoch and loads its state again.
"""

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from zejzl_ray.store.durability import Durability


@dataclass(frozen=True, slots=True)
class Put:
    """Write a value; its version grows by one (1 for a new key).

    ``expires_at_s`` is wall time; after it the key reads as absent.
    """

    key: str
    value: bytes
    expires_at_s: float | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove a key; removing an absent one is no error."""

    key: str


@dataclass(frozen=True, slots=True)
class Append:
    """Add an entry at the end of a log; entries are numbered 1, 2, 3 ... for each log, without gaps."""

    log: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Trim:
    """Forget the entries of a log up to and including ``through``; numbering goes on."""

    log: str
    through: int


Op = Put | Delete | Append | Trim


@dataclass(frozen=True, slots=True)
class Versioned:
    """A value and the version that ``expect`` compares; versions start at 1."""

    value: bytes
    version: int


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One entry of a log; ``index`` starts at 1."""

    index: int
    value: bytes


class Store(Protocol):
    """Durable state of one service."""

    @property
    def weakness(self) -> str:
        """Why a commit that is acknowledged now is less safe than was asked for; empty when it is not."""
        ...

    async def take_epoch(self) -> int:
        """Become the writer: return a new epoch, above all earlier ones.

        From now on any other epoch is refused. Repeating it takes a further epoch.
        """
        ...

    async def get(self, key: str) -> Versioned | None:
        """Return the committed value, or None when the key is absent or expired."""
        ...

    async def scan(
        self, prefix: str, *, after: str = "", limit: int = 1000
    ) -> Sequence[tuple[str, Versioned]]:
        """Return up to ``limit`` keys that start with ``prefix`` and sort after ``after``, in byte order."""
        ...

    async def read_log(self, log: str, *, after: int = 0, limit: int = 1000) -> Sequence[LogEntry]:
        """Return up to ``limit`` kept entries with an index above ``after``, oldest first."""
        ...

    async def commit(
        self, ops: Sequence[Op], *, epoch: int, expect: Mapping[str, int] | None = None, commit_id: str = ""
    ) -> None:
        """Apply all operations or none.

        Args:
            ops: in order; a later operation on the same key wins.
            epoch: what ``take_epoch`` returned to this writer.
            expect: key -> version that it must have now; 0 means absent.
            commit_id: the same id within the kept window (the last 1,024 commits) is applied once; empty: no
                check.

        Raises:
            StaleEpoch: a newer writer exists.
            VersionConflict: an expectation does not hold; names the key.
            StoreUnavailable: not reachable within the implementation's time limit.
        """
        ...

    def describe_durability(self) -> Durability | Awaitable[Durability]:
        """Return what has reached the disk when ``commit`` returns; to be awaited where the store has to ask.

        Raises:
            StoreUnavailable: the store cannot be reached.
        """
        ...

    async def close(self) -> None:
        """Release files, connections and threads; safe to repeat. Later calls raise ``StoreUnavailable``."""
        ...
