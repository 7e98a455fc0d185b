"""The store for tests and for trying things out: everything is gone with the process."""

import bisect
import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from zejzl_ray.clock import Clock
from zejzl_ray.errors import StaleEpoch, StoreUnavailable
from zejzl_ray.store.durability import Durability
from zejzl_ray.store.grouping import closed
from zejzl_ray.store.operations import (
    CLEANUP_PER_COMMIT,
    COMMIT_WINDOW,
    KeyWrite,
    LogAppend,
    LogTrim,
    Prepared,
    check_page,
    encode_key,
    encode_prefix,
    prepare,
    version_conflict,
)
from zejzl_ray.store.protocol import LogEntry, Op, Versioned


@dataclass(slots=True)
class MemoryLog:
    """One log; ``entries`` holds the indexes ``last_index - len(entries) + 1`` to ``last_index``."""

    last_index: int = 0
    entries: list[bytes] = field(default_factory=list)


@dataclass(slots=True)
class MemoryState:
    """What outlives a ``MemoryStore``: hand the same state to the next one to act out a restart.

    Attributes:
        is_reachable: set it to False to act out an outage; every call then raises ``StoreUnavailable``.
    """

    epoch: int = 0
    commits: int = 0
    # key -> (value and version, expiry)
    values: dict[bytes, tuple[Versioned, float | None]] = field(default_factory=dict)
    # commit id -> number of its commit; only the last COMMIT_WINDOW commits, oldest first
    commit_ids: dict[str, int] = field(default_factory=dict)
    logs: dict[bytes, MemoryLog] = field(default_factory=dict)
    # (expiry, key); an entry is out of date when the key has another expiry now
    expiries: list[tuple[float, bytes]] = field(default_factory=list)
    is_reachable: bool = True


class MemoryStore:
    """A ``Store`` in this process. A commit is applied at once, so concurrent commits never overlap.

    Args:
        state: shared with other stores over the same data; a fresh one when left out.
    """

    weakness = ""  # it promises nothing

    def __init__(self, *, clock: Clock, state: MemoryState | None = None, name: str = "memory") -> None:
        self._clock = clock
        self._state = state if state is not None else MemoryState()
        self._name = name
        self._is_closed = False
        # The keys in byte order; None when keys were added or removed since.
        self._sorted: list[bytes] | None = None
        self._sorted_at_commit = -1

    async def take_epoch(self) -> int:
        """Become the writer, as ``Store.take_epoch``."""
        state = self._open_state()
        state.epoch += 1
        return state.epoch

    async def get(self, key: str) -> Versioned | None:
        """Return the value, as ``Store.get``."""
        return self._current(encode_key(key), self._clock.now_s())

    async def scan(
        self, prefix: str, *, after: str = "", limit: int = 1000
    ) -> Sequence[tuple[str, Versioned]]:
        """Return a page of keys, as ``Store.scan``."""
        check_page(0, limit)
        start, now_s = encode_prefix(prefix), self._clock.now_s()
        keys, after_key = self._keys(), encode_prefix(after)
        position = bisect.bisect_left(keys, start)
        if after_key >= start:
            position = bisect.bisect_right(keys, after_key)
        found: list[tuple[str, Versioned]] = []
        while position < len(keys) and keys[position].startswith(start) and len(found) < limit:
            current = self._current(keys[position], now_s)
            if current is not None:
                found.append((keys[position].decode(), current))
            position += 1
        return found

    async def read_log(self, log: str, *, after: int = 0, limit: int = 1000) -> Sequence[LogEntry]:
        """Return a page of a log, as ``Store.read_log``."""
        check_page(after, limit)
        kept = self._open_state().logs.get(encode_key(log, "log"))
        if kept is None:
            return []
        trimmed = kept.last_index - len(kept.entries)
        start = max(0, after - trimmed)
        return [
            LogEntry(trimmed + start + offset + 1, value)
            for offset, value in enumerate(kept.entries[start : start + limit])
        ]

    async def commit(
        self, ops: Sequence[Op], *, epoch: int, expect: Mapping[str, int] | None = None, commit_id: str = ""
    ) -> None:
        """Apply all operations or none, as ``Store.commit``; there is nothing to wait for."""
        state = self._open_state()
        prepared = prepare(ops, epoch=epoch, expect=expect, commit_id=commit_id, now_s=self._clock.now_s())
        if commit_id in state.commit_ids:
            return
        if epoch != state.epoch:
            raise StaleEpoch(
                f"{self._name}: epoch {epoch} is over, {state.epoch} is current.", "Stop this writer."
            )
        for key, expected in prepared.expect.items():
            found = self._current(key, prepared.now_s)
            if (found.version if found else 0) != expected:
                raise version_conflict(self._name, key, found.version if found else 0, expected)
        self._apply(state, prepared)

    async def close(self) -> None:
        """Refuse later calls; the state stays as it is."""
        self._is_closed = True

    def describe_durability(self) -> Durability:
        """Return the policy: nothing is durable."""
        return Durability("memory: nothing reaches a disk", ("everything is lost when the process ends",))

    def _open_state(self) -> MemoryState:
        if self._is_closed:
            raise closed(self._name)
        if not self._state.is_reachable:
            raise StoreUnavailable(f"{self._name}: the store is not reachable.", "Try again later.")
        return self._state

    def _keys(self) -> list[bytes]:
        state = self._open_state()
        if self._sorted is None or self._sorted_at_commit != state.commits:
            self._sorted, self._sorted_at_commit = sorted(state.values), state.commits
        return self._sorted

    def _current(self, key: bytes, now_s: float) -> Versioned | None:
        stored = self._open_state().values.get(key)
        if stored is None or (stored[1] is not None and stored[1] <= now_s):
            return None
        return stored[0]

    def _apply(self, state: MemoryState, prepared: Prepared) -> None:
        state.commits += 1
        if prepared.commit_id:
            state.commit_ids[prepared.commit_id] = state.commits
        while state.commit_ids and next(iter(state.commit_ids.values())) <= state.commits - COMMIT_WINDOW:
            del state.commit_ids[next(iter(state.commit_ids))]
        for key, value in prepared.plain.items():
            self._put(state, key, KeyWrite(value, None, 1, False), prepared.now_s)
        for key, write in prepared.special.items():
            self._put(state, key, write, prepared.now_s)
        for key in prepared.deletes:
            state.values.pop(key, None)
        for op in prepared.log_ops:
            _apply_to_log(state, op)
        self._forget_expired(state, prepared.now_s)

    def _put(self, state: MemoryState, key: bytes, write: KeyWrite, now_s: float) -> None:
        current = None if write.is_reset else self._current(key, now_s)
        version = write.puts + (current.version if current else 0)
        state.values[key] = (Versioned(write.value, version), write.expires_at_s)
        if write.expires_at_s is not None:
            heapq.heappush(state.expiries, (write.expires_at_s, key))

    @staticmethod
    def _forget_expired(state: MemoryState, now_s: float) -> None:
        for _ in range(CLEANUP_PER_COMMIT):
            if not state.expiries or state.expiries[0][0] > now_s:
                return
            expires_at_s, key = heapq.heappop(state.expiries)
            stored = state.values.get(key)
            if stored is not None and stored[1] == expires_at_s:
                del state.values[key]


def _apply_to_log(state: MemoryState, op: LogAppend | LogTrim) -> None:
    if isinstance(op, LogAppend):
        log = state.logs.setdefault(op.log, MemoryLog())
        log.entries.extend(op.values)
        log.last_index += len(op.values)
    elif (known := state.logs.get(op.log)) is not None:
        del known.entries[: max(0, op.through - (known.last_index - len(known.entries)))]
