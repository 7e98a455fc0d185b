"""One way to open, restart and inspect each of the three stores."""

import itertools
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest
from redis.asyncio import Redis

from zejzl_ray.store import MemoryState, MemoryStore, Store
from zejzl_ray.store.redis import RedisStore
from zejzl_ray.store.redis_bulk import BULK_KEYS
from zejzl_ray.store.sqlite import SqliteStore
from zejzl_ray.testing import ManualClock
from zejzl_ray.testing.redis_server import RedisServer

EACH_A_TRANSACTION = 0
_numbers = itertools.count()


class Backend(Protocol):
    """One set of data that stores are opened over, one after the other."""

    clock: ManualClock

    async def open(self) -> Store: ...

    async def count_kept_keys(self) -> int: ...


class MemoryBackend:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.state = MemoryState()

    async def open(self) -> Store:
        return MemoryStore(clock=self.clock, state=self.state)

    async def count_kept_keys(self) -> int:
        return len(self.state.values)


class SqliteBackend:
    def __init__(self, directory: Path) -> None:
        self.clock = ManualClock()
        self.directory = directory

    async def open(self) -> Store:
        return await SqliteStore.open(self.directory, "contract", clock=self.clock, timeout_s=30)

    async def count_kept_keys(self) -> int:
        connection = sqlite3.connect(self.directory / "contract.sqlite3")
        try:
            (count,) = connection.execute("SELECT count(*) FROM entries").fetchone()
            return int(count)
        finally:
            connection.close()


class RedisBackend:
    def __init__(self, server: RedisServer, bulk_keys: int) -> None:
        self.clock = ManualClock()
        self.server = server
        self.bulk_keys = bulk_keys
        self.namespace = f"contract-{next(_numbers)}"

    async def open(self) -> Store:
        return await RedisStore.open(
            self.server.url, self.namespace, clock=self.clock, timeout_s=30, bulk_keys=self.bulk_keys
        )

    async def count_kept_keys(self) -> int:
        async with Redis.from_url(self.server.url) as client:
            index = await client.zcard(f"{{zejzl:{self.namespace}}}:index")
            values = await client.hlen(f"{{zejzl:{self.namespace}}}:values")
        assert index == values
        return int(values)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A server for tests that leave it running; each takes a namespace of its own."""
    with RedisServer() as server:
        yield server


@pytest.fixture(params=[BULK_KEYS, EACH_A_TRANSACTION], ids=["script", "transaction"])
def bulk_keys(request: pytest.FixtureRequest) -> int:
    """From how many keys on a commit goes to Redis as a transaction: both ways must mean the same."""
    return int(request.param)


@pytest.fixture
def make_backend(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Backend]:
    """Make fresh data for a store of the named kind."""

    def make(kind: str) -> Backend:
        if kind == "memory":
            return MemoryBackend()
        if kind == "sqlite":
            return SqliteBackend(tmp_path / f"data-{next(_numbers)}")
        return RedisBackend(
            request.getfixturevalue("redis_server"), EACH_A_TRANSACTION if kind == "redis-bulk" else BULK_KEYS
        )

    return make


@pytest.fixture(params=["memory", "sqlite", "redis", "redis-bulk"])
def backend(request: pytest.FixtureRequest, make_backend: Callable[[str], Backend]) -> Backend:
    """Fresh data, once for each kind of store."""
    return make_backend(request.param)


@pytest.fixture
async def store(backend: Backend) -> AsyncIterator[Store]:
    """An open store over ``backend``."""
    opened = await backend.open()
    yield opened
    await opened.close()


@pytest.fixture
async def epoch(store: Store) -> int:
    """The epoch of the only writer."""
    return await store.take_epoch()
