"""What only the Redis store meets: a server that is away, restarts, forgets or refuses; a lost answer."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis

from zejzl_ray.errors import SettingsInvalid, StaleEpoch, StoreError, StoreUnavailable, VersionConflict
from zejzl_ray.store import Append, LogEntry, Put, Versioned, open_store
from zejzl_ray.store.redis import RedisStore
from zejzl_ray.testing import ManualClock
from zejzl_ray.testing.redis_server import RedisServer

NAMESPACE = "failures"


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server of this test's own, to be mistreated."""
    with RedisServer() as started:
        yield started


@asynccontextmanager
async def opened(url: str, **options: Any) -> AsyncIterator[RedisStore]:
    store = await RedisStore.open(url, NAMESPACE, clock=ManualClock(), owner="the first", **options)
    try:
        yield store
    finally:
        await store.close()


async def test_a_server_that_is_not_there_is_refused_at_start_with_its_address() -> None:
    stopped = RedisServer()
    stopped.start()
    stopped.close()
    with pytest.raises(StoreUnavailable) as caught:
        await open_store(
            f"redis://user:s3cret@{stopped.address}/0", NAMESPACE, clock=ManualClock(), owner="x"
        )
    assert stopped.address in str(caught.value)
    assert "Start Redis there" in str(caught.value)
    assert "s3cret" not in str(caught.value)


async def test_a_host_that_does_not_exist_is_refused_at_start() -> None:
    with pytest.raises(StoreUnavailable, match=r"redis no-such-host\.invalid:6380"):
        await open_store("redis://no-such-host.invalid:6380", NAMESPACE, clock=ManualClock(), owner="x")


async def test_a_wrong_password_is_refused_at_start_and_not_repeated() -> None:
    with RedisServer(password="right-word") as server:
        with pytest.raises(StoreUnavailable, match=server.address) as caught:
            await open_store(
                f"redis://:wr0ng-word@{server.address}", NAMESPACE, clock=ManualClock(), owner="x"
            )
        assert "wr0ng-word" not in str(caught.value)
        with pytest.raises(StoreUnavailable, match="Authentication required"):
            await open_store(f"redis://{server.address}", NAMESPACE, clock=ManualClock(), owner="x")
        async with opened(server.url) as store:
            await store.commit([Put("k", b"1")], epoch=await store.take_epoch())


async def test_a_store_reconnects_after_the_server_restarts(server: RedisServer, bulk_keys: int) -> None:
    async with opened(server.url, bulk_keys=bulk_keys, timeout_s=30) as store:
        epoch = await store.take_epoch()
        await store.commit([Put("k", b"1"), Append("l", b"1")], epoch=epoch)
        await asyncio.to_thread(server.restart)
        assert await store.get("k") == Versioned(b"1", 1)
        await store.commit([Put("k", b"2")], epoch=epoch, expect={"k": 1})
        assert await store.scan("") == [("k", Versioned(b"2", 2))]
        assert await store.read_log("l") == [LogEntry(1, b"1")]


async def test_callers_wait_through_a_restart_within_their_time_limit(
    server: RedisServer, bulk_keys: int
) -> None:
    async with opened(server.url, bulk_keys=bulk_keys, timeout_s=30) as store:
        epoch = await store.take_epoch()
        await asyncio.to_thread(server.kill)
        waiting = [
            asyncio.create_task(store.commit([Append("l", b"%d" % n)], epoch=epoch)) for n in range(20)
        ]
        reading = asyncio.create_task(store.get("k"))
        await asyncio.to_thread(server.start)
        await asyncio.gather(*waiting)
        assert await reading is None
        assert len(await store.read_log("l")) == 20


async def test_in_an_outage_callers_get_store_unavailable_and_afterwards_all_is_well(
    server: RedisServer, bulk_keys: int
) -> None:
    async with opened(server.url, bulk_keys=bulk_keys, timeout_s=0.3) as store:
        epoch = await store.take_epoch()
        await store.commit([Put("k", b"1")], epoch=epoch)
        await asyncio.to_thread(server.kill)
        calls = [
            store.commit([Put("k", b"2")], epoch=epoch),
            store.get("k"),
            store.scan(""),
            store.read_log("l"),
            store.take_epoch(),
        ]
        for outcome in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(outcome, StoreUnavailable)
            assert server.address in str(outcome)
        await asyncio.to_thread(server.start)
        assert await store.get("k") == Versioned(b"1", 1)
        await store.commit([Put("k", b"2")], epoch=epoch)


async def test_a_server_that_hangs_ends_the_wait(server: RedisServer, bulk_keys: int) -> None:
    async with opened(server.url, bulk_keys=bulk_keys, timeout_s=0.3) as store:
        epoch = await store.take_epoch()
        os.kill(server.pid, signal.SIGSTOP)
        try:
            with pytest.raises(StoreUnavailable, match="may still have been applied"):
                await store.commit([Append("l", b"1")], epoch=epoch, commit_id="one")
            with pytest.raises(StoreUnavailable):
                await store.get("k")
        finally:
            os.kill(server.pid, signal.SIGCONT)
        await store.commit([Append("l", b"1")], epoch=epoch, commit_id="one")
        assert await store.read_log("l") == [LogEntry(1, b"1")]


async def test_scripts_that_the_server_forgot_are_loaded_again(server: RedisServer) -> None:
    async with opened(server.url) as store, Redis.from_url(server.url) as client:
        epoch = await store.take_epoch()
        for _ in range(2):
            await asyncio.gather(*(store.commit([Append("l", b"1")], epoch=epoch) for _ in range(5)))
            await store.scan("")
            await client.script_flush()
        assert len(await store.read_log("l")) == 10


def is_commit(data: bytes) -> bool:
    """Tell whether these bytes from a client end a commit: by the script, or by a transaction."""
    return b"EVALSHA" in data or data.endswith(b"EXEC\r\n")


class LosingProxy:
    """Stands before a server; when armed, it lets one commit through and cuts the line without an answer."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._tasks: set[asyncio.Task[None]] = set()
        self.is_armed = False
        self.lost = 0
        self.port = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator["LosingProxy"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        behind_reader, behind_writer = await asyncio.open_connection("127.0.0.1", self._port)
        back = asyncio.create_task(self._copy(behind_reader, writer))
        try:
            while data := await reader.read(65536):
                is_last = self.is_armed and is_commit(data)
                if is_last:
                    self.is_armed = False
                    back.cancel()
                    await asyncio.gather(back, return_exceptions=True)
                behind_writer.write(data)
                if is_last:
                    assert await behind_reader.read(65536)
                    self.lost += 1
                    break
        finally:
            back.cancel()
            writer.close()
            behind_writer.close()
            self._tasks.discard(task)

    @staticmethod
    async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()


async def test_a_commit_whose_answer_got_lost_is_applied_once(
    redis_server: RedisServer, bulk_keys: int
) -> None:
    async with LosingProxy(redis_server.port).running() as proxy:
        async with opened(f"redis://127.0.0.1:{proxy.port}", bulk_keys=bulk_keys, timeout_s=30) as store:
            log = f"lost-{bulk_keys}"
            epoch = await store.take_epoch()
            await store.commit([Append(log, b"0")], epoch=epoch)
            for number in (1, 2, 3):
                proxy.is_armed = True
                await store.commit([Append(log, b"%d" % number)], epoch=epoch)
            assert proxy.lost == 3
            assert [entry.value for entry in await store.read_log(log)] == [b"0", b"1", b"2", b"3"]


async def test_a_replaced_writer_reads_who_replaced_it(server: RedisServer, bulk_keys: int) -> None:
    async with opened(server.url, bulk_keys=bulk_keys) as first:
        old = await first.take_epoch()
        second = await RedisStore.open(server.url, NAMESPACE, clock=ManualClock(), owner="errors on pc2")
        new = await second.take_epoch()
        with pytest.raises(StaleEpoch, match="taken by errors on pc2"):
            await first.commit([Put("k", b"old")], epoch=old)
        await second.commit([Put("k", b"new")], epoch=new)
        assert await first.get("k") == Versioned(b"new", 1)
        await second.close()


async def test_a_writer_notices_that_the_server_lost_its_data(bulk_keys: int) -> None:
    with RedisServer(is_durable=False) as server:
        async with opened(server.url, bulk_keys=bulk_keys, timeout_s=30) as store:
            epoch = await store.take_epoch()
            await store.commit([Put("k", b"1")], epoch=epoch)
            await asyncio.to_thread(server.restart)
            with pytest.raises(StaleEpoch):
                await store.commit([Put("k", b"2")], epoch=epoch)


async def test_a_full_server_refuses_the_commit_and_loses_nothing(bulk_keys: int) -> None:
    with RedisServer(settings=("maxmemory 20mb", "maxmemory-policy noeviction")) as server:
        async with opened(server.url, bulk_keys=bulk_keys) as store:
            epoch = await store.take_epoch()
            stored = 0
            refusal: StoreUnavailable | None = None
            while refusal is None and stored < 100:
                try:
                    await store.commit([Put(f"{stored}", b"x" * 1_000_000), Append("l", b"")], epoch=epoch)
                    stored += 1
                except StoreUnavailable as error:
                    refusal = error
            assert "OOM" in str(refusal)
            assert stored > 5
            assert len(await store.scan("")) == stored
            assert len(await store.read_log("l")) == stored


async def test_foreign_data_under_the_stores_keys_is_an_error(server: RedisServer, bulk_keys: int) -> None:
    async with opened(server.url, bulk_keys=bulk_keys) as store, Redis.from_url(server.url) as client:
        epoch = await store.take_epoch()
        await client.set(f"{{zejzl:{NAMESPACE}}}:values", "text")
        with pytest.raises(StoreError, match="WRONGTYPE"):
            await store.commit([Put("k", b"1")], epoch=epoch, expect={"k": 0})
        with pytest.raises(StoreError, match="WRONGTYPE"):
            await store.get("k")


async def test_a_commit_that_fails_on_foreign_data_is_an_error(server: RedisServer, bulk_keys: int) -> None:
    async with opened(server.url, bulk_keys=bulk_keys) as store, Redis.from_url(server.url) as client:
        epoch = await store.take_epoch()
        await client.set(f"{{zejzl:{NAMESPACE}}}:index", "text")
        with pytest.raises(StoreError, match="WRONGTYPE"):
            await store.commit([Put("k", b"1")], epoch=epoch)


async def test_an_unknown_option_in_the_address_is_refused(server: RedisServer) -> None:
    with pytest.raises(SettingsInvalid, match="unknown option"):
        await open_store(f"{server.url}?colour=blue", NAMESPACE, clock=ManualClock(), owner="x")


async def test_the_durability_in_force_is_described_with_its_weak_points(redis_server: RedisServer) -> None:
    async with opened(redis_server.url) as store:
        described = await store.describe_durability()
    assert "synced before each acknowledgement (appendfsync always)" in described.policy
    assert described.warnings == ()
    with RedisServer(is_durable=False, settings=("maxmemory-policy allkeys-lru",)) as weak:
        async with opened(weak.url) as store:
            warnings = (await store.describe_durability()).warnings
    assert [warning.split()[0] for warning in warnings] == ["appendonly", "maxmemory-policy"]


async def test_a_user_without_config_and_info_can_use_the_store(server: RedisServer, bulk_keys: int) -> None:
    async with Redis.from_url(server.url) as client:
        await client.acl_setuser(
            "zejzl", enabled=True, passwords=["+word"], keys=["{zejzl:*"], categories=["+@all", "-@dangerous"]
        )
    async with opened(f"redis://zejzl:word@{server.address}", bulk_keys=bulk_keys) as store:
        await store.commit([Put("k", b"1")], epoch=await store.take_epoch())
        assert await store.scan("") == [("k", Versioned(b"1", 1))]
        described = await store.describe_durability()
        assert "not known" in described.policy
        assert "CONFIG" in described.warnings[0]


class HoldingProxy(LosingProxy):
    """Keeps one commit back, after its sender has gone too, until it is told to deliver it."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.deliver = asyncio.Event()
        self.answered = asyncio.Event()
        self.late_answer = b""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        behind_reader, behind_writer = await asyncio.open_connection("127.0.0.1", self._port)
        back = asyncio.create_task(self._copy(behind_reader, writer))
        try:
            while data := await reader.read(65536):
                if self.is_armed and is_commit(data):
                    self.is_armed = False
                    back.cancel()
                    await asyncio.gather(back, return_exceptions=True)
                    await self.deliver.wait()
                    behind_writer.write(data)
                    self.late_answer = await behind_reader.read(65536)
                    self.answered.set()
                    return
                behind_writer.write(data)
        finally:
            back.cancel()
            writer.close()
            behind_writer.close()


async def test_a_commit_that_arrives_late_does_not_overwrite_a_newer_one(
    redis_server: RedisServer, bulk_keys: int
) -> None:
    async with HoldingProxy(redis_server.port).running() as proxy:
        assert isinstance(proxy, HoldingProxy)
        async with opened(f"redis://127.0.0.1:{proxy.port}", bulk_keys=bulk_keys, timeout_s=0.4) as store:
            key = f"late-{bulk_keys}"
            epoch = await store.take_epoch()
            await store.commit([Put(key, b"0")], epoch=epoch)
            proxy.is_armed = True
            with pytest.raises(StoreUnavailable):
                await store.commit([Put(key, b"held")], epoch=epoch)
            await store.commit([Put(key, b"newer")], epoch=epoch)
            proxy.deliver.set()
            await asyncio.wait_for(proxy.answered.wait(), 30)
            assert (b"LATE" if bulk_keys else b"*-1\r\n") in proxy.late_answer
            assert await store.get(key) == Versioned(b"newer", 2)


@asynccontextmanager
async def answering(replies: dict[bytes, bytes]) -> AsyncIterator[str]:
    """Answer each command as told, the others with OK: a server older or stranger than those at hand."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while header := await reader.readline():
                words = []
                for _ in range(int(header[1:])):
                    size = int((await reader.readline())[1:])
                    words.append((await reader.readexactly(size + 2))[:-2])
                writer.write(replies.get(words[0].upper(), b"+OK\r\n"))
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def test_a_server_that_is_too_old_is_refused_at_start() -> None:
    async with answering({b"INFO": b"$19\r\nredis_version:5.0.7\r\n"}) as url:
        with pytest.raises(StoreError, match=r"Redis 5\.0\.7\. Install Redis 6\.2"):
            await open_store(url, NAMESPACE, clock=ManualClock(), owner="x")


async def test_a_server_that_forgets_its_scripts_at_once_is_an_error() -> None:
    replies = {b"INFO": b"-NOPERM no\r\n", b"EVALSHA": b"-NOSCRIPT No matching script\r\n"}
    async with answering(replies) as url, opened(url) as store:
        with pytest.raises(StoreError, match="forgets its scripts"):
            await store.commit([], epoch=1)


async def test_a_server_that_cannot_count_replicas_is_an_error() -> None:
    replies = {
        b"INFO": b"-NOPERM no\r\n",
        b"WAIT": b"-ERR unknown command\r\n",
        b"EVALSHA": b"*1\r\n$2\r\nOK\r\n",
    }
    async with answering(replies) as url, opened(url, replicas=1) as store:
        with pytest.raises(StoreError, match="unknown command"):
            await store.commit([], epoch=1)


async def test_a_transaction_that_something_always_comes_before_ends_in_time() -> None:
    replies = {
        b"INFO": b"-NOPERM no\r\n",
        b"HMGET": b"*3\r\n$1\r\n1\r\n$-1\r\n$-1\r\n",
        b"ZSCORE": b"$-1\r\n",
        b"ZRANGEBYSCORE": b"*0\r\n",
        b"EXEC": b"*-1\r\n",
    }
    async with answering(replies) as url, opened(url, bulk_keys=0, timeout_s=0.3) as store:
        with pytest.raises(StoreUnavailable, match="came in between"):
            await store.commit([Append("l", b"")], epoch=1)


async def test_small_and_large_commits_that_wait_together_are_applied_in_order(server: RedisServer) -> None:
    async with opened(server.url, bulk_keys=3) as store:
        epoch = await store.take_epoch()
        commits = [
            [Put(f"k{key}", b"%d" % number) for key in range(1 + number % 4)] + [Append("l", b"%d" % number)]
            for number in range(40)
        ]
        outcomes = await asyncio.gather(
            *(
                store.commit(ops, epoch=epoch, expect={"k0": number})
                for number, ops in enumerate(commits[:30])
            ),
            return_exceptions=True,
        )
        assert outcomes == [None] * 30
        assert await store.get("k0") == Versioned(b"29", 30)
        refused = await asyncio.gather(
            store.commit(commits[31], epoch=epoch, expect={"k0": 99}),
            store.commit(commits[32], epoch=epoch, expect={"k0": 30}),
            store.commit(commits[35], epoch=epoch + 1),
            return_exceptions=True,
        )
        assert [type(outcome) for outcome in refused] == [VersionConflict, type(None), StaleEpoch]
        assert [int(entry.value) for entry in await store.read_log("l")] == [*range(30), 32]
