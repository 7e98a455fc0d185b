"""A whole back-up and the way back, beside writers, and killed at every step."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from tests.contract.store.sites import RedisSites, SiteBackend, SqliteSites, content_at
from zejzl_ray.backup.create import create_backup
from zejzl_ray.backup.restore import restore_backup
from zejzl_ray.clock import SystemClock
from zejzl_ray.errors import Conflict, StaleEpoch, StoreError
from zejzl_ray.store import Append, Put, Store
from zejzl_ray.store.image import ImageEntry, Record
from zejzl_ray.testing.redis_server import RedisServer

CHILD = Path(__file__).with_name("restore_child.py")
CLOCK = SystemClock()
NAMES = ("one", "two", "three")


@pytest.fixture(params=["sqlite", "redis"])
def sites(request: pytest.FixtureRequest, tmp_path: Path) -> SiteBackend:
    if request.param == "sqlite":
        return SqliteSites(tmp_path / "store")
    backend = RedisSites(request.getfixturevalue("redis_server"))
    with redis.Redis.from_url(backend.url) as client:
        client.flushdb()
    return backend


def url_of(sites: SiteBackend) -> str:
    return sites.url if isinstance(sites, RedisSites) else f"sqlite://{sites.directory}"  # type: ignore[attr-defined]


async def put(sites: SiteBackend, word: str, names: tuple[str, ...] = NAMES) -> dict[str, int]:
    epochs = {}
    for name in names:
        store = await sites.open(name)
        epochs[name] = await store.take_epoch()
        await store.commit([Put(word, b"1"), Append("l", word.encode())], epoch=epochs[name])
        await store.close()
    return epochs


async def contents(sites: SiteBackend) -> dict[str, list[Record]]:
    site = await sites.open_site()
    try:
        return {name: await content_at(site, name) for name in await site.namespaces()}
    finally:
        await site.close()


async def backup(sites: SiteBackend, path: Path) -> None:
    site = await sites.open_site()
    await create_backup(site, path, clock=CLOCK)
    await site.close()


async def restore(sites: SiteBackend, path: Path) -> None:
    site = await sites.open_site()
    try:
        await restore_backup(site, path, clock=CLOCK, shelf=path.parent, is_forced=True)
    finally:
        await site.close()


async def refuses_to_open(sites: SiteBackend) -> bool:
    try:
        await (await sites.open("one")).close()
    except StoreError as error:
        assert "interrupted" in str(error)
        return True
    return False


def run_child(url: str, path: Path, step: int) -> int:
    """Return the number of steps; 0 when it was killed."""
    done = subprocess.run(
        [sys.executable, str(CHILD), url, str(path), str(step)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    if done.returncode == -signal.SIGKILL:
        return 0
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


async def test_a_restore_killed_at_any_step_changed_nothing_or_is_completed_by_the_next(
    sites: SiteBackend, tmp_path: Path
) -> None:
    path = tmp_path / "backup.tar.gz"
    await put(sites, "saved")
    await backup(sites, path)
    saved = await contents(sites)
    steps = await asyncio.to_thread(run_child, url_of(sites), path, 0)
    assert steps > 8
    seen = set()
    for step in {*range(1, steps + 1, max(1, steps // 6)), steps - 3, steps - 2, steps - 1, steps}:
        await restore(sites, path)
        epochs = await put(sites, "later")
        later = await contents(sites)
        assert await asyncio.to_thread(run_child, url_of(sites), path, step) == 0
        if await refuses_to_open(sites):
            seen.add("refused")
        else:
            now = await contents(sites)
            assert now in (later, saved)
            seen.add("nothing" if now == later else "all")
        await restore(sites, path)
        assert await contents(sites) == saved
        for name in NAMES:
            store = await sites.open(name)
            with pytest.raises(StaleEpoch):
                await store.commit([Put("old", b"1")], epoch=epochs[name])
            assert await store.take_epoch() > epochs[name]
            await store.close()
    assert "nothing" in seen
    assert "refused" in seen or isinstance(sites, RedisSites)


async def test_a_backup_taken_beside_writers_restores_to_a_prefix(sites: SiteBackend, tmp_path: Path) -> None:
    """Each namespace: everything acknowledged before the back-up began, then a prefix of what came."""
    stores: dict[str, Store] = {name: await sites.open(name) for name in NAMES}
    epochs = {name: await store.take_epoch() for name, store in stores.items()}
    done: dict[str, list[int]] = {name: [] for name in NAMES}
    progress = asyncio.Semaphore(0)
    is_over = asyncio.Event()

    async def write(name: str) -> None:
        number = 0
        while not is_over.is_set():
            value = b"%d" % number
            await stores[name].commit([Put(f"k/{number:06}", value), Append("l", value)], epoch=epochs[name])
            done[name].append(number)
            progress.release()
            number += 1

    workers = [asyncio.create_task(write(name)) for name in NAMES]
    for _ in range(150):
        await progress.acquire()
    acknowledged = {name: len(numbers) for name, numbers in done.items()}
    path = tmp_path / "backup.tar.gz"
    await backup(sites, path)
    is_over.set()
    await asyncio.gather(*workers)
    with pytest.raises(Conflict, match=r"(one|three) is open from|in use by process .*zejzl down"):
        await restore(sites, path)
    for store in stores.values():
        await store.close()
    await restore(sites, path)
    for name in NAMES:
        store = await sites.open(name)
        with pytest.raises(StaleEpoch):
            await store.commit([Put("late", b"1")], epoch=epochs[name])
        log = [int(entry.value) for entry in await store.read_log("l", limit=100_000)]
        assert log == list(range(len(log)))
        assert acknowledged[name] <= len(log) <= len(done[name])
        assert len(await store.scan("k/", limit=100_000)) == len(log)
        await store.close()


async def test_a_backup_of_one_kind_restores_into_the_other(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    sqlite = SqliteSites(tmp_path / "store")
    await put(sqlite, "moved")
    path = tmp_path / "backup.tar.gz"
    await backup(sqlite, path)
    there = RedisSites(redis_server)
    with redis.Redis.from_url(there.url) as client:
        client.flushdb()
    await restore(there, path)
    assert await contents(there) == await contents(sqlite)
    back = SqliteSites(tmp_path / "again")
    again = tmp_path / "again.tar.gz"
    await backup(there, again)
    await restore(back, again)
    assert await contents(back) == await contents(sqlite)


async def test_what_is_there_is_replaced_only_when_forced_and_saved_first(
    sites: SiteBackend, tmp_path: Path
) -> None:
    path = tmp_path / "backup.tar.gz"
    await put(sites, "saved", ("one",))
    await backup(sites, path)
    await put(sites, "later", ("one", "two"))
    later = await contents(sites)
    site = await sites.open_site()
    with pytest.raises(Conflict, match=r"not empty: one, two\. --force"):
        await restore_backup(site, path, clock=CLOCK, shelf=tmp_path / "shelf")
    assert await contents(sites) == later
    done = await restore_backup(site, path, clock=CLOCK, shelf=tmp_path / "shelf", is_forced=True)
    await site.close()
    assert done.namespaces == ("one", "two")
    now = await contents(sites)
    assert [record.key for record in now["one"] if isinstance(record, ImageEntry)] == ["saved"]
    assert now["two"] == []
    assert done.before is not None
    await restore(sites, done.before)
    assert await contents(sites) == later
