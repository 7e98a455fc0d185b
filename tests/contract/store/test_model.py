"""Random histories: each store against a model that is too simple to be wrong."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zejzl_ray.errors import StaleEpoch, VersionConflict
from zejzl_ray.store import Append, Delete, LogEntry, Op, Put, Trim, Versioned

KEYS = ["a", "a/1", "a/2", "b", "é"]
LOGS = ["l", "m"]

# Expiries are given relative to the time of their commit; 0 and below are expired at once.
values = st.binary(max_size=4)
ops = st.one_of(
    st.builds(Put, st.sampled_from(KEYS), values, st.none() | st.integers(-1, 6).map(float)),
    st.builds(Delete, st.sampled_from(KEYS)),
    st.builds(Append, st.sampled_from(LOGS), values),
    st.builds(Trim, st.sampled_from(LOGS), st.integers(0, 8)),
)


@dataclass(frozen=True)
class Commit:
    """A commit; ``expect`` gives an offset from the true version, so that most expectations hold."""

    ops: list[Op]
    expect: dict[str, int]
    commit_id: str
    epoch_offset: int


@dataclass(frozen=True)
class Wait:
    """Time passes."""

    by_s: int


class Restart:
    """The store is closed and opened again, and a new writer starts."""

    def __repr__(self) -> str:
        return "Restart()"


commits = st.builds(
    Commit,
    st.lists(ops, max_size=6),
    st.dictionaries(st.sampled_from(KEYS), st.sampled_from([0, 0, 0, 0, 1]), max_size=2),
    st.sampled_from(["", "", "x", "y"]),
    st.sampled_from([0, 0, 0, 0, 0, -1, 1]),
)
histories = st.lists(
    st.one_of(commits, commits, commits, st.builds(Wait, st.integers(1, 4)), st.builds(Restart)), max_size=12
)


@dataclass
class Model:
    """One operation after the other, on plain dictionaries."""

    now_s: float
    epoch: int = 0
    values: dict[str, tuple[bytes, int, float | None]] = field(default_factory=dict)
    logs: dict[str, list[LogEntry]] = field(default_factory=dict)
    last_index: dict[str, int] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)

    def get(self, key: str) -> Versioned | None:
        value, version, expires_at_s = self.values.get(key, (b"", 0, None))
        if not version or (expires_at_s is not None and expires_at_s <= self.now_s):
            return None
        return Versioned(value, version)

    def version(self, key: str) -> int:
        found = self.get(key)
        return found.version if found else 0

    def commit(self, ops: list[Op], epoch: int, expect: dict[str, int], commit_id: str) -> str:
        if commit_id in self.done:
            return "done"
        if epoch != self.epoch:
            return "StaleEpoch"
        if any(self.version(key) != version for key, version in expect.items()):
            return "VersionConflict"
        if commit_id:
            self.done.add(commit_id)
        for op in ops:
            match op:
                case Put(key, value, expires_at_s):
                    self.values[key] = (value, self.version(key) + 1, expires_at_s)
                case Delete(key):
                    self.values.pop(key, None)
                case Append(log, value):
                    self.last_index[log] = self.last_index.get(log, 0) + 1
                    self.logs.setdefault(log, []).append(LogEntry(self.last_index[log], value))
                case Trim(log, through):
                    self.logs[log] = [entry for entry in self.logs.get(log, []) if entry.index > through]
        return "done"


async def run(history: list[Commit | Wait | Restart], backend: Any) -> None:
    store = await backend.open()
    model = Model(backend.clock.now_s(), epoch=await store.take_epoch())
    try:
        for step in history:
            match step:
                case Wait(by_s):
                    backend.clock.advance(by_s)
                    model.now_s += by_s
                case Restart():
                    await store.close()
                    store = await backend.open()
                    model.epoch = await store.take_epoch()
                case Commit(ops, expect, commit_id, epoch_offset):
                    timed = [
                        Put(op.key, op.value, model.now_s + op.expires_at_s)
                        if isinstance(op, Put) and op.expires_at_s is not None
                        else op
                        for op in ops
                    ]
                    versions = {key: model.version(key) + offset for key, offset in expect.items()}
                    epoch = model.epoch + epoch_offset
                    outcome = "done"
                    try:
                        await store.commit(timed, epoch=epoch, expect=versions, commit_id=commit_id)
                    except (StaleEpoch, VersionConflict) as error:
                        outcome = type(error).__name__
                    assert outcome == model.commit(timed, epoch, versions, commit_id)
            for key in KEYS:
                assert await store.get(key) == model.get(key)
            present = [(key, value) for key in sorted(KEYS) if (value := model.get(key))]
            assert list(await store.scan("")) == present
            assert list(await store.scan("a/", after="a/1")) == [
                (k, v) for k, v in present if "a/1" < k < "a0"
            ]
            for log in LOGS:
                assert list(await store.read_log(log)) == model.logs.get(log, [])
    finally:
        await store.close()


@pytest.mark.parametrize("kind", ["memory", "sqlite", "redis", "redis-bulk"])
def test_any_history_ends_as_in_the_model(kind: str, make_backend: Callable[[str], object]) -> None:
    # One function, three parameters: the fixtures are shared by all examples, which each take fresh data.
    @settings(
        max_examples={"memory": 150, "sqlite": 40, "redis": 60, "redis-bulk": 60}[kind],
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(histories)
    def check(history: list[Commit | Wait | Restart]) -> None:
        asyncio.run(run(history, make_backend(kind)))

    check()
