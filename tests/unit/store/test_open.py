"""From a URL to a store, and the addresses that are refused."""

from pathlib import Path

import pytest

from zejzl_ray.errors import SettingsInvalid
from zejzl_ray.store import MemoryStore, Put, open_store
from zejzl_ray.store.sqlite import SqliteStore
from zejzl_ray.testing import ManualClock


async def refused(url: str, namespace: str = "core") -> str:
    with pytest.raises(SettingsInvalid) as caught:
        await open_store(url, namespace, clock=ManualClock(), owner="test")
    return str(caught.value)


@pytest.mark.parametrize("url", ["", "core", "mysql://u:pa55@host/db", "http://[bad", "file:///x"])
async def test_an_unknown_scheme_is_refused_with_the_known_ones(url: str) -> None:
    text = await refused(url)
    assert "pa55" not in text
    assert "redis" in text


async def test_memory_is_only_taken_when_asked_for() -> None:
    store = await open_store("memory://", "core", clock=ManualClock(), owner="test")
    assert isinstance(store, MemoryStore)
    assert store.describe_durability().warnings


async def test_sqlite_takes_a_directory(tmp_path: Path) -> None:
    store = await open_store(f"sqlite://{tmp_path}/a%20b", "core", clock=ManualClock(), owner="test")
    assert isinstance(store, SqliteStore)
    await store.commit([Put("k", b"1")], epoch=await store.take_epoch())
    await store.close()
    assert (tmp_path / "a b" / "core.sqlite3").exists()


async def test_sqlite_without_a_directory_is_refused() -> None:
    assert "no directory" in await refused("sqlite://")
    assert "no directory" in await refused("sqlite:///")


async def test_a_bad_namespace_is_refused_before_anything_is_opened() -> None:
    assert "cannot name a store" in await refused("memory://", "a/b")


@pytest.mark.parametrize(
    "option", ["timeout_s=0", "timeout_s=x", "timeout_s=nan", "replicas=-1", "replicas=1.5", "when_away=hope"]
)
async def test_redis_options_out_of_range_are_refused(option: str) -> None:
    assert "timeout_s, replicas, when_away or sentinels" in await refused(
        f"redis://:pa55@127.0.0.1:1/0?{option}"
    )


@pytest.mark.parametrize(
    "url",
    [
        "redis://:pa55@127.0.0.1:port",
        "redis:pa55@host",
        "redis://:pa55@/0",
        "redis://:pa55@host/zero",
        "redis://:pa55@127.0.0.1:1?socket_timeout=pa55",
        "redis+sentinel://:pa55@127.0.0.1:1",
        "redis+sentinel:///primary",
        "redis+sentinel://:pa55@127.0.0.1:pa55/primary",
        "redis+sentinel://:pa55@127.0.0.1,:5/primary",
        "redis+sentinel://:pa55@127.0.0.1:1/primary/zero",
    ],
)
async def test_a_redis_address_that_cannot_be_read_is_refused_without_repeating_it(url: str) -> None:
    text = await refused(url)
    assert "pa55" not in text
    assert "not a valid URL" in text
