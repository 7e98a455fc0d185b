"""A process killed between any two steps: what was acknowledged is there, nothing is there by half."""

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from zejzl_ray.store import Append, Op, Put, Store, open_store
from zejzl_ray.store.redis import RedisStore
from zejzl_ray.testing import ManualClock
from zejzl_ray.testing.redis_server import RedisServer

WRITER = Path(__file__).with_name("crash_writer.py")
# 1 to 18 create the file, 19 to 22 take the first epoch, 23 to 35 are a lone commit, 36 to 54 a group of two.
STATEMENTS = range(1, 56)


def start_writer(url: str, statement_number: int = 0) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(WRITER), url, str(statement_number)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )


def acknowledged(writer: subprocess.Popen[str]) -> set[int]:
    out, err = writer.communicate(timeout=60)
    assert writer.returncode == -signal.SIGKILL, err
    return {int(line) for line in out.splitlines(keepends=True) if line.endswith("\n")}


async def check_and_use(store: Store, known: set[int]) -> set[int]:
    """Check that each commit is there or not, as a whole; return those that are."""
    first = {int(key[2:]) for key, _ in await store.scan("a/", limit=100_000)}
    second = {int(key[2:]) for key, _ in await store.scan("b/", limit=100_000)}
    log = await store.read_log("l", limit=100_000)
    assert first == second == {int(entry.value) for entry in log}
    assert [entry.index for entry in log] == list(range(1, len(log) + 1))
    assert len(first) == len(log)
    assert first >= known
    epoch = await store.take_epoch()
    await store.commit([Put("after", b""), Append("l", b"-1")], epoch=epoch)
    return first


@pytest.mark.parametrize("statement_number", STATEMENTS)
async def test_sqlite_survives_a_kill_before_any_statement(tmp_path: Path, statement_number: int) -> None:
    url = f"sqlite://{tmp_path}"
    known = acknowledged(start_writer(url, statement_number))
    store = await open_store(url, "crash", clock=ManualClock(), owner="test")
    await check_and_use(store, known)
    await store.close()


def kill_while_it_writes(writer: subprocess.Popen[str], after_lines: int) -> set[int]:
    assert writer.stdout is not None
    seen = {int(writer.stdout.readline()) for _ in range(after_lines)}
    writer.kill()
    return seen | acknowledged(writer)


@pytest.mark.parametrize("seed", range(3))
async def test_sqlite_survives_a_kill_at_a_random_moment(tmp_path: Path, seed: int) -> None:
    url = f"sqlite://{tmp_path}"
    lines = random.Random(seed).randrange(50, 1500)
    known = await asyncio.to_thread(kill_while_it_writes, start_writer(url), lines)
    store = await open_store(url, "crash", clock=ManualClock(), owner="test")
    assert await check_and_use(store, known)
    await store.close()


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as started:
        yield started


async def test_redis_survives_a_killed_client(server: RedisServer) -> None:
    lines = random.Random(7).randrange(50, 500)
    known = await asyncio.to_thread(kill_while_it_writes, start_writer(server.url), lines)
    store = await open_store(server.url, "crash", clock=ManualClock(), owner="test")
    assert await check_and_use(store, known)
    await store.close()


async def test_a_killed_redis_loses_no_acknowledged_commit_and_doubles_none(
    server: RedisServer, bulk_keys: int
) -> None:
    store = await RedisStore.open(server.url, "crash", clock=ManualClock(), timeout_s=30, bulk_keys=bulk_keys)
    epoch = await store.take_epoch()
    known: set[int] = set()
    is_over = asyncio.Event()
    progress = asyncio.Semaphore(0)

    async def write(worker: int) -> None:
        number = worker
        while not is_over.is_set():
            value = b"%d" % number
            ops: list[Op] = [Put(f"a/{number}", value), Put(f"b/{number}", value), Append("l", value)]
            await store.commit(ops, epoch=epoch)
            known.add(number)
            progress.release()
            number += 8

    workers = [asyncio.create_task(write(worker)) for worker in range(8)]
    for _ in range(4):
        for _ in range(100):
            await progress.acquire()
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
    is_over.set()
    await asyncio.gather(*workers)
    # Nobody was told of a failure, so what is there is exactly what was acknowledged.
    assert await check_and_use(store, known) == known
    await store.close()


def append_only_file(server: RedisServer) -> Path:
    """The file that Redis writes to: one up to Redis 6, the newest increment of several from Redis 7 on."""
    found = [*server.directory.glob("appendonly.aof"), *server.directory.glob("appendonlydir/*.incr.aof")]
    return max(found, key=lambda path: path.stat().st_mtime)


@pytest.mark.parametrize("cut_bytes", [1, 30, 200, 1000])
async def test_a_torn_end_of_the_append_only_file_is_no_half_commit(
    server: RedisServer, cut_bytes: int, bulk_keys: int
) -> None:
    store = await RedisStore.open(server.url, "crash", clock=ManualClock(), bulk_keys=bulk_keys)
    epoch = await store.take_epoch()
    for number in range(3):
        value = b"%d" % number
        ops: list[Op] = [Put(f"a/{number}", value), Put(f"b/{number}", value), Append("l", value)]
        await store.commit(ops, epoch=epoch)
    await store.close()
    await asyncio.to_thread(server.kill)
    path = append_only_file(server)
    os.truncate(path, path.stat().st_size - cut_bytes)
    await asyncio.to_thread(server.start)
    reopened = await open_store(server.url, "crash", clock=ManualClock(), owner="test")
    kept = await check_and_use(reopened, set())
    assert kept == set(range(len(kept)))
    assert len(kept) < 3
    await reopened.close()
