"""A primary whose replica is away goes on while real Sentinels name it, and acknowledges nothing when they do not."""

import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import redis

from zejzl_ray.clock import SystemClock
from zejzl_ray.errors import StoreUnavailable
from zejzl_ray.store import Put, Store, open_store
from zejzl_ray.testing.redis_server import RedisServer

NAMESPACE = "core"


@dataclass(frozen=True)
class Site:
    """A primary, its replica and three Sentinels."""

    primary: RedisServer
    replica: RedisServer
    sentinels: list[RedisServer]

    @property
    def url(self) -> str:
        voters = ",".join(one.address for one in self.sentinels)
        return f"redis://{self.primary.address}/0?replicas=1&when_away=witness&sentinels={voters}&timeout_s=2"


@pytest.fixture
def site() -> Iterator[Site]:
    with contextlib.ExitStack() as stack:
        primary = stack.enter_context(RedisServer(settings=("repl-diskless-sync-delay 0",)))
        replica = stack.enter_context(RedisServer(settings=(f"replicaof 127.0.0.1 {primary.port}",)))
        lines = (
            f"sentinel monitor zejzl 127.0.0.1 {primary.port} 2",
            "sentinel down-after-milliseconds zejzl 500",
            "sentinel failover-timeout zejzl 3000",
        )
        sentinels = [stack.enter_context(RedisServer(is_sentinel=True, settings=lines)) for _ in range(3)]
        site = Site(primary, replica, sentinels)
        _until(lambda: _replication(replica).get("master_link_status") == "up")
        _until(lambda: all(_state(one)["num-other-sentinels"] == 2 for one in sentinels))
        _until(lambda: all(_state(one)["num-slaves"] == 1 for one in sentinels))
        yield site


@pytest.fixture
async def store(site: Site) -> AsyncIterator[Store]:
    store = await open_store(site.url, NAMESPACE, clock=SystemClock(), owner="test")
    yield store
    await store.close()


async def test_it_goes_on_alone_while_the_sentinels_name_it_and_refuses_when_they_are_gone(
    site: Site, store: Store
) -> None:
    epoch = await store.take_epoch()
    await store.commit([Put("both", b"1")], epoch=epoch)
    assert store.weakness == ""
    site.replica.kill()
    site.sentinels[1].kill()
    await store.commit([Put("alone", b"1")], epoch=epoch)
    assert "1 of 1 replicas are away" in store.weakness

    site.sentinels[2].kill()
    with pytest.raises(StoreUnavailable) as caught:
        await store.commit([Put("cut off", b"1")], epoch=epoch)
    assert "0 of 1 replicas have the commit, and 1 of 3 Sentinels name this primary" in str(caught.value)
    assert "commits are refused" in store.weakness
    with pytest.raises(StoreUnavailable):
        await store.take_epoch()

    site.sentinels[2].start()
    await _until_acknowledged(store)
    assert "is lost if this primary is lost" in store.weakness
    site.replica.start()
    await _until_has(lambda: store.weakness == "", store)


async def test_a_primary_that_was_replaced_while_it_hung_acknowledges_nothing(
    site: Site, store: Store
) -> None:
    epoch = await store.take_epoch()
    await store.commit([Put("before", b"1")], epoch=epoch)
    pid = site.primary.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        _until(lambda: all(_state(one)["port"] == site.replica.port for one in site.sentinels))
    finally:
        os.kill(pid, signal.SIGCONT)
    acknowledged = []
    for number in range(3):  # it takes a while until the old one is told that it is a replica now
        with contextlib.suppress(StoreUnavailable):
            await store.commit([Put(f"after{number}", b"1")], epoch=epoch)
            acknowledged.append(number)
    assert acknowledged == []
    _until(lambda: _replication(site.primary)["role"] == "slave")
    with redis.Redis(port=site.replica.port) as client:
        assert client.hexists(f"{{zejzl:{NAMESPACE}}}:values", "before")


async def test_silence_is_no_word_and_a_commit_waits_for_it_no_longer_than_it_may(
    site: Site, store: Store
) -> None:
    epoch = await store.take_epoch()
    beyond = [site.replica, *site.sentinels[1:]]  # what a primary behind a cut cable does not hear any more
    for server in beyond:
        os.kill(server.pid, signal.SIGSTOP)
    try:
        with pytest.raises(StoreUnavailable) as caught:
            await store.commit([Put("cut off", b"1")], epoch=epoch)
        assert "no answer to a commit within 2 s" in str(caught.value)
        assert "1 of 3 Sentinels name this primary" in str(caught.value)
    finally:
        for server in beyond:
            os.kill(server.pid, signal.SIGCONT)
    await _until_acknowledged(store)


async def _acknowledged(store: Store) -> bool:
    try:
        await store.commit([Put("again", b"1")], epoch=await store.take_epoch())
    except StoreUnavailable:
        return False
    return True


async def _until_acknowledged(store: Store) -> None:
    await _until_has(lambda: True, store)


async def _until_has(is_so: Callable[[], bool], store: Store) -> None:
    deadline_s = time.monotonic() + 30
    while not (await _acknowledged(store) and is_so()):
        assert time.monotonic() < deadline_s, "not within 30 s"


def _state(sentinel: RedisServer) -> dict[str, Any]:
    with redis.Redis(port=sentinel.port, decode_responses=True) as client:
        state: Any = client.sentinel_master("zejzl")
    return dict(state)


def _replication(server: RedisServer) -> dict[str, Any]:
    with redis.Redis(port=server.port, decode_responses=True) as client:
        told: Any = client.info("replication")
    return dict(told)


def _until(is_so: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 40
    while not is_so():
        assert time.monotonic() < deadline_s, "not within 40 s"
        time.sleep(0.1)
