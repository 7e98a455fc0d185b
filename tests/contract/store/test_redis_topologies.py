"""The Redis store over other kinds of Redis: cluster mode, Sentinel, replicas, TLS."""

import asyncio
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from redis.asyncio import Redis
from redis.crc import key_slot
from structlog.testing import capture_logs

from zejzl_ray.errors import StoreUnavailable
from zejzl_ray.store import Append, Delete, LogEntry, Put, Trim, Versioned, open_store
from zejzl_ray.store.redis import RedisStore
from zejzl_ray.store.redis_copies import Lonely
from zejzl_ray.testing import ManualClock
from zejzl_ray.testing.redis_server import RedisServer

NAMESPACE = "topology"


async def use(store: RedisStore) -> None:
    """Touch every kind of key."""
    epoch = await store.take_epoch()
    at_s = ManualClock().now_s() + 5
    await store.commit(
        [Put("a", b"1"), Put("b", b"1", at_s), Append("l", b"1"), Append("m", b"1")], epoch=epoch
    )
    await store.commit([Put("a", b"2"), Delete("b"), Trim("l", 1)], epoch=epoch, expect={"a": 1})
    assert await store.get("a") == Versioned(b"2", 2)
    assert await store.scan("") == [("a", Versioned(b"2", 2))]
    assert await store.read_log("m") == [LogEntry(1, b"1")]


async def test_all_keys_of_a_namespace_lie_in_one_cluster_slot(bulk_keys: int) -> None:
    with RedisServer() as server:
        store = await RedisStore.open(server.url, NAMESPACE, clock=ManualClock(), bulk_keys=bulk_keys)
        await use(store)
        await store.close()
        async with Redis.from_url(server.url) as client:
            keys = [bytes(key) async for key in client.scan_iter()]
            slots = {key_slot(key) for key in keys}
        assert len(keys) >= 6
        assert all(key.startswith(b"{zejzl:topology}:") for key in keys)
        assert len(slots) == 1


async def test_a_server_in_cluster_mode_takes_every_operation(bulk_keys: int) -> None:
    with RedisServer(settings=("cluster-enabled yes",)) as server:
        async with Redis.from_url(server.url) as client:
            run: Any = client.execute_command
            await run("CLUSTER", "ADDSLOTS", *range(16384))

            async def is_ready() -> bool:
                return bool((await run("CLUSTER INFO"))["cluster_state"] == "ok")

            await until(is_ready)
        store = await RedisStore.open(server.url, NAMESPACE, clock=ManualClock(), bulk_keys=bulk_keys)
        await use(store)
        await store.close()


async def until(is_true: Callable[[], Awaitable[bool]]) -> None:
    """Ask again and again, for half a minute at most: these servers announce nothing."""
    for _ in range(600):
        if await is_true():
            return
        await asyncio.sleep(0.05)
    raise TimeoutError


async def wait_for_replica(server: RedisServer) -> None:
    async with Redis.from_url(server.url) as client:

        async def has_replica() -> bool:
            return bool((await client.info("replication"))["connected_slaves"] and await client.wait(1, 100))

        await until(has_replica)


async def test_a_commit_can_wait_for_a_replica(bulk_keys: int) -> None:
    with RedisServer() as primary, RedisServer(settings=(f"replicaof 127.0.0.1 {primary.port}",)) as replica:
        await wait_for_replica(primary)
        store = await RedisStore.open(
            primary.url, NAMESPACE, clock=ManualClock(), timeout_s=1, replicas=1, bulk_keys=bulk_keys
        )
        await use(store)
        epoch = await store.take_epoch()
        await store.commit([Put("copied", b"1")], epoch=epoch)
        assert "on 1 replica too" in (await store.describe_durability()).policy
        async with Redis.from_url(replica.url) as client:
            assert await client.hexists(f"{{zejzl:{NAMESPACE}}}:values", "copied")
        replica.kill()
        with pytest.raises(StoreUnavailable, match="of 1 replicas"):
            await store.commit([Append("l", b"late")], epoch=epoch, commit_id="late")
        with pytest.raises(StoreUnavailable, match="of 1 replicas"):
            await store.take_epoch()
        await store.close()


async def test_commits_go_on_without_a_replica_that_is_away_where_that_is_the_rule(bulk_keys: int) -> None:
    at_once = ("repl-diskless-sync-delay 0",)  # a replica that is back is not kept waiting for others
    with (
        RedisServer(settings=at_once) as primary,
        RedisServer(settings=(f"replicaof 127.0.0.1 {primary.port}",)) as replica,
    ):
        await wait_for_replica(primary)
        clock = ManualClock()
        store = await RedisStore.open(
            primary.url,
            NAMESPACE,
            clock=clock,
            replicas=1,
            when_away=Lonely.ACKNOWLEDGE,
            bulk_keys=bulk_keys,
        )
        epoch = await store.take_epoch()

        async def has_both() -> bool:
            clock.advance(1)
            await store.commit([Put("together", b"1")], epoch=epoch)
            return store.weakness == ""

        await until(has_both)
        assert "on 1 replica too while they are there" in (await store.describe_durability()).policy
        replica.kill()
        with capture_logs() as logs:
            for number in range(50):
                await store.commit([Put(f"alone{number}", b"1")], epoch=epoch)
            assert "1 of 1 replicas are away" in store.weakness
            assert store.weakness in (await store.describe_durability()).warnings
            replica.start()
            await wait_for_replica(primary)
            await until(has_both)
        told = [line["event"] for line in logs]
        assert told[0] == "replicas are away: commits are acknowledged without them"
        assert told[-1] == "replicas are back"
        async with Redis.from_url(replica.url) as client:
            assert await client.hexists(f"{{zejzl:{NAMESPACE}}}:values", "alone49")
        await store.close()


async def test_a_replica_is_no_place_to_write(bulk_keys: int) -> None:
    with RedisServer() as primary, RedisServer(settings=(f"replicaof 127.0.0.1 {primary.port}",)) as replica:
        await wait_for_replica(primary)
        store = await RedisStore.open(primary.url, NAMESPACE, clock=ManualClock())
        epoch = await store.take_epoch()
        behind = await RedisStore.open(
            replica.url, NAMESPACE, clock=ManualClock(), timeout_s=0.3, bulk_keys=bulk_keys
        )
        with pytest.raises(StoreUnavailable, match=r"READONLY|read only"):
            await behind.commit([Put("k", b"")], epoch=epoch)
        await behind.close()
        await store.close()


async def test_sentinel_leads_the_store_to_the_new_primary(bulk_keys: int) -> None:
    with ExitStack() as stack:
        primary = stack.enter_context(RedisServer())
        replica = stack.enter_context(RedisServer(settings=(f"replicaof 127.0.0.1 {primary.port}",)))
        await wait_for_replica(primary)
        sentinel = stack.enter_context(
            RedisServer(
                is_sentinel=True,
                settings=(
                    f"sentinel monitor zejzl 127.0.0.1 {primary.port} 1",
                    "sentinel down-after-milliseconds zejzl 300",
                    "sentinel failover-timeout zejzl 3000",
                ),
            )
        )
        async with Redis.from_url(sentinel.url) as client:

            async def knows_the_replica() -> bool:
                state: Any = await client.sentinel_master("zejzl")
                return bool(state["num-slaves"])

            await until(knows_the_replica)
        url = f"redis+sentinel://{sentinel.address}/zejzl/0"
        store = await RedisStore.open(
            url, NAMESPACE, clock=ManualClock(), owner="test", timeout_s=40, bulk_keys=bulk_keys
        )
        epoch = await store.take_epoch()
        await store.commit([Put("k", b"1")], epoch=epoch)
        async with Redis.from_url(primary.url) as client:
            assert await client.wait(1, 5000) == 1
        primary.kill()
        await store.commit([Put("k", b"2")], epoch=epoch, expect={"k": 1})
        assert await store.get("k") == Versioned(b"2", 2)
        async with Redis.from_url(replica.url) as client:
            assert (await client.info("replication"))["role"] == "master"
        await store.close()


async def test_a_primary_that_no_sentinel_knows_is_refused_at_start() -> None:
    with RedisServer(is_sentinel=True) as sentinel, pytest.raises(StoreUnavailable, match=sentinel.address):
        await open_store(
            f"redis+sentinel://{sentinel.address}/zejzl", NAMESPACE, clock=ManualClock(), owner="x"
        )


def make_certificate(directory: Path) -> tuple[Path, Path]:
    """Write a certificate for 127.0.0.1 that is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "store test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    (directory / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (directory / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return directory / "cert.pem", directory / "key.pem"


@asynccontextmanager
async def tls_before(port: int, certificate: Path, key: Path) -> AsyncIterator[int]:
    """Accept TLS and pass the plain bytes on: the bundled server is built without TLS."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    tasks: set[asyncio.Task[None]] = set()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind_reader, behind_writer = await asyncio.open_connection("127.0.0.1", port)
        for pair in ((reader, behind_writer), (behind_reader, writer)):
            tasks.add(asyncio.create_task(copy(*pair)))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await asyncio.wait(tasks, timeout=10)


async def test_rediss_speaks_tls_and_checks_the_certificate(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    certificate, key = make_certificate(tmp_path)
    async with tls_before(redis_server.port, certificate, key) as port:
        url = f"rediss://127.0.0.1:{port}/0"
        store = await RedisStore.open(f"{url}?ssl_ca_certs={certificate}", "tls", clock=ManualClock())
        await use(store)
        await store.close()
        with pytest.raises(StoreUnavailable, match=r"(?i)certificate"):
            await RedisStore.open(url, "tls", clock=ManualClock(), timeout_s=2)
