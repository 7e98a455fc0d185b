"""The durable ends of the bus over each kind of store."""

import itertools
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from zejzl_ray.store import MemoryState, MemoryStore, Store
from zejzl_ray.store.redis import RedisStore
from zejzl_ray.store.sqlite import SqliteStore
from zejzl_ray.testing import ManualClock
from zejzl_ray.testing.redis_server import RedisServer

Open = Callable[[str], Awaitable[Store]]
_numbers = itertools.count()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A server for tests that leave it running; each takes namespaces of its own."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=["memory", "sqlite", "redis"])
def make_open(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> Callable[[], Open]:
    """Return fresh data at each call: a way to open its stores by namespace, again and again."""

    def make() -> Open:
        number = next(_numbers)
        states: dict[str, MemoryState] = {}

        async def open_memory(namespace: str) -> Store:
            return MemoryStore(clock=clock, state=states.setdefault(namespace, MemoryState()))

        async def open_sqlite(namespace: str) -> Store:
            return await SqliteStore.open(tmp_path / str(number), namespace, clock=clock, timeout_s=30)

        async def open_redis(namespace: str) -> Store:
            server: RedisServer = request.getfixturevalue("redis_server")
            return await RedisStore.open(server.url, f"{namespace}-{number}", clock=clock, timeout_s=30)

        ways: dict[str, Open] = {"memory": open_memory, "sqlite": open_sqlite, "redis": open_redis}
        return ways[request.param]

    if request.param == "redis":
        request.getfixturevalue("redis_server")  # not from within a running loop
    return make
