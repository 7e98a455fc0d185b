"""What every site promises: an image of one moment while writers go on, and replacing everything or nothing."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import redis

from tests.contract.store.sites import (
    MemorySites,
    RedisSites,
    SiteBackend,
    SqliteSites,
    content_at,
    records_at,
)
from zejzl_ray.errors import (
    NotFound,
    SettingsInvalid,
    StaleEpoch,
    StoreError,
    StoreLocked,
    StoreUnavailable,
)
from zejzl_ray.store import Append, Delete, LogEntry, Put, Trim, Versioned
from zejzl_ray.store.image import (
    ImageCommitId,
    ImageEntry,
    ImageFigures,
    ImageHead,
    ImageLog,
    ImageLogEntry,
    Record,
    checked,
    epoch_after_restore,
    era_of,
)
from zejzl_ray.store.site import StoreSite
from zejzl_ray.store.site_open import open_site
from zejzl_ray.testing.redis_server import RedisServer

NOW_S = 1_800_000_000.0
KINDS = ["memory", "sqlite", "redis"]


@pytest.fixture
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str, str], SiteBackend]:
    """Make fresh data for a site of the named kind."""

    def make_one(kind: str, name: str) -> SiteBackend:
        if kind == "memory":
            return MemorySites()
        if kind == "sqlite":
            return SqliteSites(tmp_path / name)
        sites = RedisSites(request.getfixturevalue("redis_server"))
        with redis.Redis.from_url(sites.url) as client:
            client.flushdb()
        return sites

    return make_one


@pytest.fixture(params=KINDS)
def sites(request: pytest.FixtureRequest, make: Callable[[str, str], SiteBackend]) -> SiteBackend:
    return make(request.param, "first")


@pytest.fixture
async def site(sites: SiteBackend) -> AsyncIterator[StoreSite]:
    opened = await sites.open_site()
    yield opened
    await opened.close()


async def fill(sites: SiteBackend, namespace: str = "one") -> int:
    """Write a bit of everything; return the epoch."""
    store = await sites.open(namespace)
    epoch = await store.take_epoch()
    at_s = sites.clock.now_s() + 60
    await store.commit(
        [Put("a", b"1"), Put("b", b"\xff\x00", at_s), Put("é", b"x")], epoch=epoch, commit_id="c1"
    )
    await store.commit([Put("a", b"2"), Delete("é"), Append("l", b"1"), Append("l", b"2")], epoch=epoch)
    await store.commit([Trim("l", 1), Append("gone}:restore:x", b"1")], epoch=epoch, commit_id="c3")
    await store.commit([Trim("gone}:restore:x", 1)], epoch=epoch, commit_id="c4")
    await store.close()
    return epoch


async def test_an_image_holds_everything_in_order(sites: SiteBackend, site: StoreSite) -> None:
    epoch = await fill(sites)
    assert await site.namespaces() == ["one"]
    head, *rest = await records_at(site, "one")
    assert head == ImageHead("one", epoch, 4)
    ids = [record for record in rest if isinstance(record, ImageCommitId)]
    # Redis gives an id to the commit that has none, to find it again when an answer is lost.
    assert [each for each in ids if each.number != 2] == [
        ImageCommitId("c1", 1),
        ImageCommitId("c3", 3),
        ImageCommitId("c4", 4),
    ]
    assert [record for record in rest if not isinstance(record, ImageCommitId)] == [
        ImageEntry("a", 2, None, b"2"),
        ImageEntry("b", 1, sites.clock.now_s() + 60, b"\xff\x00"),
        ImageLog("gone}:restore:x", 1),
        ImageLog("l", 2),
        ImageLogEntry(2, b"2"),
    ]


@pytest.mark.parametrize("from_kind", KINDS)
async def test_state_moves_from_any_kind_to_any_other(
    sites: SiteBackend, site: StoreSite, from_kind: str, make: Callable[[str, str], SiteBackend]
) -> None:
    others = make(from_kind, "other")
    epoch = await fill(others)
    other = await others.open_site()
    records = await records_at(other, "one")
    await other.close()
    assert await site.replace([("one", iter(records))], source="test", now_s=NOW_S) == ["one"]
    assert await content_at(site, "one") == records[1:]
    store = await sites.open("one")
    assert await store.get("a") == Versioned(b"2", 2)
    fresh = await store.take_epoch()
    assert fresh == epoch_after_restore(epoch, NOW_S) + 1
    # Applied before the image was taken, so it is not applied again.
    await store.commit([Put("a", b"twice")], epoch=fresh, commit_id="c3")
    await store.commit(
        [Put("a", b"3"), Append("l", b"3"), Append("gone}:restore:x", b"2")], epoch=fresh, expect={"a": 2}
    )
    assert await store.read_log("l") == [LogEntry(2, b"2"), LogEntry(3, b"3")]
    assert await store.read_log("gone}:restore:x") == [LogEntry(2, b"2")]
    assert [key for key, _ in await store.scan("")] == ["a", "b"]
    sites.clock.advance(61)
    assert [key for key, _ in await store.scan("")] == ["a"]
    await store.close()


async def test_who_wrote_before_is_refused_and_leaves_no_trace(sites: SiteBackend, site: StoreSite) -> None:
    await fill(sites)
    image = await records_at(site, "one")
    later = await sites.open("one")
    epoch = await later.take_epoch()  # one that the image does not know
    await later.commit([Put("later", b"1")], epoch=epoch)
    await later.close()
    await site.replace([("one", iter(image))], source="test", now_s=NOW_S)
    old = await sites.open("one")
    with pytest.raises(StaleEpoch):
        await old.commit([Put("old", b"1")], epoch=epoch)
    assert [key for key, _ in await old.scan("")] == ["a", "b"]
    await old.close()


async def test_a_namespace_without_an_image_becomes_empty_and_fenced(
    sites: SiteBackend, site: StoreSite
) -> None:
    await fill(sites)
    image = await records_at(site, "one")
    epoch = await fill(sites, "two")
    assert await site.replace([("one", iter(image))], source="test", now_s=NOW_S) == ["one", "two"]
    assert await content_at(site, "two") == []
    store = await sites.open("two")
    with pytest.raises(StaleEpoch):
        await store.commit([Put("a", b"1")], epoch=epoch)
    assert await store.take_epoch() == epoch_after_restore(epoch, NOW_S) + 1
    await store.close()


def broken(records: list[Record]) -> Iterator[Record]:
    yield from records
    raise StoreError("the source ended in the middle")


async def test_an_image_that_breaks_off_changes_nothing(sites: SiteBackend, site: StoreSite) -> None:
    await fill(sites)
    before = await records_at(site, "one")
    other: list[Record] = [ImageHead("two", 1, 0), ImageEntry("k", 1, None, b"v")]
    with pytest.raises(StoreError):
        await site.replace([("two", iter(other)), ("one", broken(before[:3]))], source="test", now_s=NOW_S)
    assert await site.namespaces() == ["one"]
    assert await records_at(site, "one") == before
    assert not await site.interrupted()


async def test_what_is_not_there_cannot_be_read(site: StoreSite) -> None:
    assert await site.namespaces() == []
    with pytest.raises(NotFound):
        await records_at(site, "nothing")


async def test_an_image_taken_beside_writers_is_a_prefix_of_what_they_did(
    sites: SiteBackend, site: StoreSite
) -> None:
    """Eight writers, each commit in three places: an image holds whole commits only, and none before others of it."""
    store = await sites.open("one")
    epoch = await store.take_epoch()
    done: list[int] = []
    progress = asyncio.Semaphore(0)
    is_over = asyncio.Event()

    async def write(worker: int) -> None:
        number = worker
        while not is_over.is_set():
            value = b"%d" % number
            name = f"log{number % 37}"  # logs begin while images are taken
            await store.commit(
                [Put(f"k/{number}", value), Append("l", value), Append(name, value)], epoch=epoch
            )
            done.append(number)
            progress.release()
            number += 8
            await asyncio.sleep(0)  # a store in memory never waits

    workers = [asyncio.create_task(write(worker)) for worker in range(8)]
    images = []
    for _ in range(5):
        for _ in range(100):
            await progress.acquire()
        acknowledged = set(done)
        images.append((acknowledged, await records_at(site, "one")))
    is_over.set()
    await asyncio.gather(*workers)
    whole = [entry.value for entry in await store.read_log("l", limit=100_000)]
    await store.close()
    for acknowledged, image in images:
        head = image[0]
        assert isinstance(head, ImageHead)
        log: list[bytes] = []
        logs: dict[str, list[bytes]] = {}
        name = ""
        for record in image:
            if isinstance(record, ImageLog):
                name = record.log
            elif isinstance(record, ImageLogEntry):
                (log if name == "l" else logs.setdefault(name, [])).append(record.value)
        keys = {record.value for record in image if isinstance(record, ImageEntry)}
        assert log == whole[: len(log)]  # the order of commits, without a gap: a prefix
        assert keys == set(log) == {value for values in logs.values() for value in values}
        assert {int(value) for value in log} >= acknowledged
        assert len(log) == head.commits
    assert await site.users() is not None


async def test_a_store_that_is_open_is_seen_and_not_replaced(make: Callable[[str, str], SiteBackend]) -> None:
    for kind in ("sqlite", "redis"):
        sites = make(kind, "seen")
        await fill(sites)
        site = await sites.open_site()
        assert await site.users() == []
        image = await records_at(site, "one")
        store = await sites.open("one")
        (user,) = await site.users() or []
        assert "one" in user
        with pytest.raises(StoreLocked):
            await site.replace([("one", iter(image))], source="test", now_s=NOW_S)
        await store.close()
        await site.close()


@pytest.mark.parametrize(
    "url", ["", "memory://", "ftp://x", "sqlite://", "http://[", "redis://", "redis://127.0.0.1:1/0"]
)
async def test_an_address_of_no_site_is_refused(url: str) -> None:
    with pytest.raises((SettingsInvalid, StoreUnavailable)) as caught:
        await open_site(url)
    assert caught.value.remedy


async def test_sqlite_files_of_others_are_left_out_and_damaged_ones_named(tmp_path: Path) -> None:
    sites = SqliteSites(tmp_path)
    await fill(sites)
    (tmp_path / "no name!.sqlite3").write_bytes(b"x")
    (tmp_path / "cut.sqlite3").touch()
    (tmp_path / "junk.sqlite3").write_bytes(b"x" * 4096)
    sqlite3.connect(tmp_path / "blank.sqlite3").close()
    site = await sites.open_site()
    assert await site.namespaces() == ["junk", "one"]
    with pytest.raises(StoreError, match="not a SQLite database"):
        await records_at(site, "junk")
    with pytest.raises(NotFound, match="holds nothing"):
        await records_at(site, "cut")
    # What cannot be read cannot tell an epoch, and is replaced all the same.
    await site.replace([("junk", iter([ImageHead("junk", 3, 0)]))], source="test", now_s=NOW_S)
    assert await records_at(site, "junk") == [ImageHead("junk", epoch_after_restore(3, NOW_S), 0)]


async def test_with_the_mark_of_a_restore_no_sqlite_store_opens(tmp_path: Path) -> None:
    sites = SqliteSites(tmp_path)
    await fill(sites)
    site = await sites.open_site()
    image = await records_at(site, "one")
    (tmp_path / "restore_unfinished").write_text("some-file")
    assert await site.interrupted() == "some-file"
    for work in (sites.open("one"), records_at(site, "one")):
        with pytest.raises(StoreError, match=r"some-file.*interrupted.*Repeat"):
            await work
    await site.replace([("one", iter(image))], source="test", now_s=NOW_S)
    assert not await site.interrupted()
    await (await sites.open("one")).close()


async def test_a_redis_that_forbids_listing_clients_says_nothing_of_users() -> None:
    with RedisServer() as server:
        with redis.Redis.from_url(server.url) as client:
            client.execute_command("ACL", "SETUSER", "z", "on", ">pw", "~{zejzl:*", "+@all", "-@dangerous")
        url = f"redis://z:pw@{server.address}/0"
        site = await open_site(url)
        sites = RedisSites(server, database=0)
        await fill(sites)
        assert await site.users() is None
        image = await records_at(site, "one")
        assert await site.replace([("one", iter(image))], source="test", now_s=NOW_S) == ["one"]
        assert (await content_at(site, "one")) == image[1:]
        await site.close()


async def test_a_redis_that_goes_away_is_one_error_and_leaves_no_copy() -> None:
    with RedisServer() as server:
        sites = RedisSites(server, database=0)
        await fill(sites)
        site = await sites.open_site()
        await records_at(site, "one")
        with redis.Redis.from_url(server.url) as client:
            assert not list(client.scan_iter("*:export:*"))
        await asyncio.to_thread(server.kill)
        with pytest.raises(StoreUnavailable):
            await site.namespaces()
        await site.close()


@pytest.mark.parametrize(
    "records",
    [
        [],
        [ImageEntry("a", 1, None, b"")],
        [ImageHead("n", -1, 0)],
        [ImageHead("n", 0, 0), ImageHead("n", 0, 0)],
        [ImageHead("n", 0, 1), ImageCommitId("x", 2)],
        [ImageHead("n", 0, 2), ImageCommitId("x", 1), ImageCommitId("x", 2)],
        [ImageHead("n", 0, 0), ImageEntry("b", 1, None, b""), ImageEntry("a", 1, None, b"")],
        [ImageHead("n", 0, 0), ImageEntry("", 1, None, b"")],
        [ImageHead("n", 0, 0), ImageEntry("a", 0, None, b"")],
        [ImageHead("n", 0, 0), ImageEntry("a", 1, float("nan"), b"")],
        [ImageHead("n", 0, 0), ImageLog("l", 0), ImageEntry("a", 1, None, b"")],
        [ImageHead("n", 0, 0), ImageLogEntry(1, b"")],
        [ImageHead("n", 0, 0), ImageLog("l", 1), ImageLog("l", 1)],
        [ImageHead("n", 0, 0), ImageLog("l", 3), ImageLogEntry(1, b""), ImageLogEntry(3, b"")],
        [ImageHead("n", 0, 0), ImageLog("l", 3), ImageLogEntry(2, b"")],
        [ImageHead("n", 0, 0), ImageLog("l", 3), ImageLogEntry(2, b""), ImageLog("m", 0)],
    ],
)
def test_what_no_store_can_hold_is_refused(records: list[Record]) -> None:
    with pytest.raises(StoreError, match="no store can"):
        list(checked(records, ImageFigures()))


def test_no_two_restores_are_of_one_era() -> None:
    first = epoch_after_restore(7, NOW_S)
    assert first > 7
    # Again in the same minute over what is there; a day later over nothing; with a clock that went back.
    assert era_of(epoch_after_restore(first + 5, NOW_S)) == era_of(first) + 1
    assert era_of(epoch_after_restore(7, NOW_S + 86_400)) > era_of(first) + 1
    assert epoch_after_restore(first + 5, 0.0) > first + 999_999
    assert epoch_after_restore(0, 4e9) < 2**53
