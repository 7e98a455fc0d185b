"""Records in memory, and drafts over them: what a command reads and what it is going to store.

A record is a frozen model of one kind under one key. All of them fit in memory and are loaded at the start; a draft
shows what is committed together with what earlier commands of the same commit have decided.
"""

import itertools
from collections.abc import Iterator
from typing import Any, ClassVar, Final, TypeVar

from zejzl_ray.contracts.base import Contract
from zejzl_ray.store.protocol import Append, Delete, Op, Put


class Record(Contract):
    """Something that is stored; ``KIND`` is the first part of its key in the store."""

    KIND: ClassVar[str] = ""


R = TypeVar("R", bound=Record)
_ABSENT: Final = object()


def encode_record(record: Record, expires_at_s: float | None) -> bytes:
    """Return what the store keeps: when it expires on the first line (empty: never), then the record as JSON.

    The store knows the moment as well, but does not tell it to a reader.
    """
    until = b"" if expires_at_s is None else repr(float(expires_at_s)).encode()
    return until + b"\n" + record.model_dump_json().encode()


def decode_record(kind: type[R], value: bytes) -> tuple[R, float | None]:
    """Return a stored record and when it expires.

    Raises:
        ValueError: this is no record of the kind.
    """
    until, _, body = value.partition(b"\n")
    return kind.model_validate_json(body), float(until) if until else None


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
        record: R = found[0]  # type: ignore[assignment]  # filed under its own kind
        return record

    def all(self, kind: type[R], now_s: float) -> Iterator[tuple[str, R]]:
        """Yield key and record of a kind that have not expired, oldest put first."""
        for key, (record, expires_at_s) in list(self._by_kind.get(kind.KIND, {}).items()):
            if expires_at_s is None or expires_at_s > now_s:
                typed: R = record  # type: ignore[assignment]  # filed under its own kind
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

    def oldest(self, kind: type[Record], number: int) -> list[str]:
        """Return up to ``number`` keys of a kind, oldest put first."""
        return list(itertools.islice(self._by_kind.get(kind.KIND, {}), number))

    def has(self, kind: type[Record], key: str) -> bool:
        """Tell whether a record is kept, expired or not."""
        return key in self._by_kind.get(kind.KIND, {})

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
        # What stood in ``_changed`` before each change, newest last; missing: nothing did.
        self._before: list[tuple[tuple[str, str], Any]] = []

    def get(self, kind: type[R], key: str) -> R | None:
        """Return the record as it will be after this commit, or null."""
        if (kind.KIND, key) in self._changed:
            changed = self._changed[kind.KIND, key]
            record: R | None = None if changed is None else changed[0]  # type: ignore[assignment]
            return record
        return self._records.get(kind, key, self.now_s)

    def all(self, kind: type[R]) -> Iterator[tuple[str, R]]:
        """Yield key and record of a kind as they will be after this commit."""
        for key, record in self._records.all(kind, self.now_s):
            if (kind.KIND, key) not in self._changed:
                yield key, record
        for (name, key), changed in list(self._changed.items()):
            if name == kind.KIND and changed is not None:
                typed: R = changed[0]  # type: ignore[assignment]
                yield key, typed

    def count(self, kind: type[Record]) -> int:
        """Return how many records of a kind there will be, expired ones that are still kept among them."""
        new = sum(
            (changed is not None) - (self._records.has(kind, key))
            for (name, key), changed in self._changed.items()
            if name == kind.KIND
        )
        return self._records.count(kind) + new

    def put(self, key: str, record: Record, expires_at_s: float | None = None) -> None:
        """Store a record in place of the one under this key."""
        value = encode_record(record, expires_at_s)
        self.size_bytes += len(value)
        self.ops.append(Put(f"{record.KIND}/{key}", value, expires_at_s))
        self._change(record.KIND, key, (record, expires_at_s))

    def delete(self, kind: type[Record], key: str) -> None:
        """Remove a record; an absent one is no error."""
        self.ops.append(Delete(f"{kind.KIND}/{key}"))
        self._change(kind.KIND, key, None)

    def append(self, log: str, value: bytes) -> None:
        """Add an entry to a log of the store."""
        self.size_bytes += len(value)
        self.ops.append(Append(log, value))

    def savepoint(self) -> tuple[int, int, int]:
        """Return where the draft stands, for ``roll_back``."""
        return len(self.ops), self.size_bytes, len(self._before)

    def roll_back(self, point: tuple[int, int, int]) -> None:
        """Forget every change since a ``savepoint``, as if its command had not been decided."""
        ops, self.size_bytes, changes = point
        del self.ops[ops:]
        while len(self._before) > changes:
            place, before = self._before.pop()
            if before is _ABSENT:
                del self._changed[place]
            else:
                self._changed[place] = before

    def _change(self, kind: str, key: str, changed: tuple[Record, float | None] | None) -> None:
        self._before.append(((kind, key), self._changed.get((kind, key), _ABSENT)))
        self._changed[kind, key] = changed

    def apply(self) -> None:
        """Carry the changes over into the committed records; the journal does it once they are durable."""
        for (kind, key), changed in self._changed.items():
            if changed is None:
                self._records.delete(kind, key)
            else:
                self._records.put(key, *changed)
