"""Records in memory, and drafts over them: what a command reads and what it is going to store.

A record is a frozen model of one kind under one key. All of them fit in memory and are loaded at the start; a draft
shows what is committed together with what earlier commands of the same commit have decided.
"""

from collections.abc import Iterator
from typing import Any, ClassVar, TypeVar

from zejzl_ray.contracts.base import Contract
from zejzl_ray.store.protocol import Append, Delete, Op, Put


class Record(Contract):
    """Something that is stored; ``KIND`` is the first part of its key in the store."""

    KIND: ClassVar[str] = ""


R = TypeVar("R", bound=Record)


class Records:
    """The committed records of one service."""

    def __init__(self) -> None:
        # kind -> key -> record, and when it expires (wall time; null: never)
        self._by_kind: dict[str, dict[str, tuple[Record, float | None]]] = {}

    def get(self, kind: type[R], key: str, now_s: float) -> R | None:
        """Return the record, or null when it is absent or expired."""
        found = self._by_kind.get(kind.KIND, {}).get(key)
        if found is None or (found[1] is not None and found[1] <= now_s):
            return None
        record: Any = found[0]
        return record

    def all(self, kind: type[R], now_s: float) -> Iterator[tuple[str, R]]:
        """Yield key and record of a kind that have not expired, oldest put first."""
        for key, (record, expires_at_s) in list(self._by_kind.get(kind.KIND, {}).items()):
            if expires_at_s is None or expires_at_s > now_s:
                typed: Any = record
                yield key, typed

    def put(self, key: str, record: Record, expires_at_s: float | None = None) -> None:
        """Take a committed record over."""
        self._by_kind.setdefault(record.KIND, {})[key] = (record, expires_at_s)

    def delete(self, kind: str, key: str) -> None:
        """Forget a record; an absent one is no error."""
        self._by_kind.get(kind, {}).pop(key, None)

    def forget_expired(self, now_s: float) -> int:
        """Drop what has expired, which the store forgets by itself; return how many."""
        dropped = 0
        for records in self._by_kind.values():
            over = [key for key, (_, at_s) in records.items() if at_s is not None and at_s <= now_s]
            for key in over:
                del records[key]
            dropped += len(over)
        return dropped

    def count(self, kind: type[Record]) -> int:
        """Return how many records of a kind are kept, expired ones among them."""
        return len(self._by_kind.get(kind.KIND, {}))


class RecordDraft:
    """What one commit will store, on top of what is committed.

    Attributes:
        now_s: wall time of all decisions of this commit.
        ops: what goes to the store, in order.
        size_bytes: of the values in ``ops``.
    """

    def __init__(self, records: Records, now_s: float) -> None:
        self._records = records
        self.now_s = now_s
        self.ops: list[Op] = []
        self.size_bytes = 0
        # (kind, key) -> what a command of this commit has put; null: deleted
        self._changed: dict[tuple[str, str], tuple[Record, float | None] | None] = {}

    def get(self, kind: type[R], key: str) -> R | None:
        """Return the record as it will be after this commit, or null."""
        if (kind.KIND, key) in self._changed:
            changed = self._changed[kind.KIND, key]
            record: Any = None if changed is None else changed[0]
            return record
        return self._records.get(kind, key, self.now_s)

    def all(self, kind: type[R]) -> Iterator[tuple[str, R]]:
        """Yield key and record of a kind as they will be after this commit."""
        for key, record in self._records.all(kind, self.now_s):
            if (kind.KIND, key) not in self._changed:
                yield key, record
        for (name, key), changed in list(self._changed.items()):
            if name == kind.KIND and changed is not None:
                typed: Any = changed[0]
                yield key, typed

    def put(self, key: str, record: Record, expires_at_s: float | None = None) -> None:
        """Store a record in place of the one under this key."""
        value = record.model_dump_json().encode()
        self.size_bytes += len(value)
        self.ops.append(Put(f"{record.KIND}/{key}", value, expires_at_s))
        self._changed[record.KIND, key] = (record, expires_at_s)

    def delete(self, kind: type[Record], key: str) -> None:
        """Remove a record; an absent one is no error."""
        self.ops.append(Delete(f"{kind.KIND}/{key}"))
        self._changed[kind.KIND, key] = None

    def append(self, log: str, value: bytes) -> None:
        """Add an entry to a log of the store."""
        self.size_bytes += len(value)
        self.ops.append(Append(log, value))

    def apply(self) -> None:
        """Carry the changes over into the committed records; the journal does it once they are durable."""
        for (kind, key), changed in self._changed.items():
            if changed is None:
                self._records.delete(kind, key)
            else:
                self._records.put(key, *changed)
