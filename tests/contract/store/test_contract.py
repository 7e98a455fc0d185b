"""What every store promises, over memory, SQLite and a real Redis."""

import asyncio
import re
from typing import Any

import pytest

from zejzl_ray.errors import InvalidInput, PayloadTooLarge, StaleEpoch, StoreUnavailable, VersionConflict
from zejzl_ray.store import Append, Delete, LogEntry, Op, Put, Store, Trim, Versioned
from zejzl_ray.store.operations import CLEANUP_PER_COMMIT, COMMIT_WINDOW, MAX_OPS


async def keys(store: Store, prefix: str = "", *, after: str = "", limit: int = 1000) -> list[str]:
    return [key for key, _ in await store.scan(prefix, after=after, limit=limit)]


@pytest.mark.parametrize(
    "value", [b"", b"123", b"True", b"null", bytes(range(256)), b"\r\n$3\r\n", b"x" * 300_000]
)
async def test_a_value_comes_back_byte_for_byte(store: Store, epoch: int, value: bytes) -> None:
    await store.commit([Put("k", value)], epoch=epoch)
    assert await store.get("k") == Versioned(value, 1)


async def test_an_absent_key_reads_as_none(store: Store) -> None:
    assert await store.get("nothing") is None


async def test_the_version_grows_by_one_with_each_put(store: Store, epoch: int) -> None:
    for number in (1, 2, 3):
        await store.commit([Put("k", b"v%d" % number)], epoch=epoch)
        assert await store.get("k") == Versioned(b"v%d" % number, number)


async def test_a_deleted_key_starts_again_at_version_1(store: Store, epoch: int) -> None:
    await store.commit([Put("k", b"a")], epoch=epoch)
    await store.commit([Delete("k"), Delete("never there")], epoch=epoch)
    assert await store.get("k") is None
    assert await keys(store) == []
    await store.commit([Put("k", b"b")], epoch=epoch)
    assert await store.get("k") == Versioned(b"b", 1)


@pytest.mark.parametrize(
    ("ops", "expected"),
    [
        ([Put("k", b"a"), Put("k", b"b")], Versioned(b"b", 3)),
        ([Put("k", b"a"), Put("k", b"b"), Put("k", b"c")], Versioned(b"c", 4)),
        ([Put("k", b"a"), Delete("k")], None),
        ([Delete("k"), Put("k", b"a")], Versioned(b"a", 1)),
        ([Delete("k"), Put("k", b"a"), Put("k", b"b")], Versioned(b"b", 2)),
        ([Put("k", b"a"), Delete("k"), Put("k", b"b")], Versioned(b"b", 1)),
    ],
)
async def test_of_several_operations_on_a_key_the_last_wins(
    store: Store, epoch: int, ops: list[Op], expected: Versioned | None
) -> None:
    await store.commit([Put("k", b"before")], epoch=epoch)
    await store.commit(ops, epoch=epoch)
    assert await store.get("k") == expected


async def test_a_scan_is_in_byte_order_and_pages(store: Store, epoch: int) -> None:
    names = ["a/1", "a/10", "a/2", "a/B", "a/b", "a/é", "a/漢", "a/\U0001f600", "a", "b/1", "A/1"]
    await store.commit([Put(name, name.encode()) for name in reversed(names)], epoch=epoch)
    expected = sorted((name for name in names if name.startswith("a/")), key=str.encode)
    assert await keys(store, "a/") == expected
    assert await keys(store) == sorted(names, key=str.encode)
    paged: list[str] = []
    while page := await keys(store, "a/", after=paged[-1] if paged else "", limit=3):
        assert len(page) <= 3
        paged += page
    assert paged == expected
    assert await keys(store, "a/", after="b") == []
    assert await keys(store, "a/", after="A") == expected
    assert await keys(store, "a/", after="a/15") == expected[expected.index("a/2") :]
    assert (await store.scan("b"))[0] == ("b/1", Versioned(b"b/1", 1))


async def test_a_prefix_is_plain_text_and_no_pattern(store: Store, epoch: int) -> None:
    names = ["x*1", "x1", "x[ab]c", "xac", "x?", "x_", "x%"]
    await store.commit([Put(name, b"") for name in names], epoch=epoch)
    assert await keys(store, "x*") == ["x*1"]
    assert await keys(store, "x[ab]") == ["x[ab]c"]
    assert await keys(store, "x_") == ["x_"]


async def test_log_entries_are_numbered_without_gaps_for_each_log(store: Store, epoch: int) -> None:
    await store.commit([Append("l", b"a"), Append("other", b"x"), Append("l", b"b")], epoch=epoch)
    await store.commit([Append("l", b"c")], epoch=epoch)
    assert await store.read_log("l") == [LogEntry(1, b"a"), LogEntry(2, b"b"), LogEntry(3, b"c")]
    assert await store.read_log("l", after=1, limit=1) == [LogEntry(2, b"b")]
    assert await store.read_log("l", after=3) == []
    assert await store.read_log("other") == [LogEntry(1, b"x")]
    assert await store.read_log("unknown") == []


async def test_numbering_goes_on_after_a_trim(store: Store, epoch: int) -> None:
    await store.commit([Append("l", b"%d" % number) for number in range(1, 6)], epoch=epoch)
    await store.commit([Trim("l", 2), Trim("unknown", 7)], epoch=epoch)
    assert [entry.index for entry in await store.read_log("l")] == [3, 4, 5]
    assert await store.read_log("l", after=1, limit=2) == [LogEntry(3, b"3"), LogEntry(4, b"4")]
    await store.commit([Trim("l", 1)], epoch=epoch)
    assert [entry.index for entry in await store.read_log("l")] == [3, 4, 5]
    await store.commit([Trim("l", 100)], epoch=epoch)
    assert await store.read_log("l") == []
    await store.commit([Append("l", b"six")], epoch=epoch)
    assert await store.read_log("l") == [LogEntry(6, b"six")]


async def test_a_trim_leaves_what_is_appended_after_it(store: Store, epoch: int) -> None:
    await store.commit([Append("l", b"a"), Append("l", b"b"), Trim("l", 9), Append("l", b"c")], epoch=epoch)
    assert await store.read_log("l") == [LogEntry(3, b"c")]


async def test_an_expired_key_reads_as_absent(store: Store, epoch: int, backend: Any) -> None:
    at_s = backend.clock.now_s() + 10
    await store.commit([Put("a", b"1", at_s), Put("b", b"2"), Put("c", b"3", at_s + 5)], epoch=epoch)
    backend.clock.advance(9.5)
    assert await keys(store) == ["a", "b", "c"]
    assert await store.get("a") == Versioned(b"1", 1)
    backend.clock.advance(0.5)
    assert await store.get("a") is None
    assert await keys(store) == ["b", "c"]
    assert await keys(store, limit=1) == ["b"]


async def test_an_expired_key_is_absent_for_expect_and_starts_at_version_1(
    store: Store, epoch: int, backend: Any
) -> None:
    at_s = backend.clock.now_s() + 10
    await store.commit([Put("a", b"1", at_s), Put("b", b"1", at_s), Put("b", b"2", at_s)], epoch=epoch)
    backend.clock.advance(10)
    with pytest.raises(VersionConflict):
        await store.commit([], epoch=epoch, expect={"a": 1})
    await store.commit(
        [Put("a", b"new"), Put("b", b"new", backend.clock.now_s() + 1)], epoch=epoch, expect={"a": 0, "b": 0}
    )
    assert await store.get("a") == Versioned(b"new", 1)
    assert await store.get("b") == Versioned(b"new", 1)


async def test_a_put_without_expiry_ends_an_earlier_one(store: Store, epoch: int, backend: Any) -> None:
    at_s = backend.clock.now_s() + 10
    await store.commit([Put("a", b"1", at_s), Put("b", b"1", at_s)], epoch=epoch)
    await store.commit([Put("a", b"2"), Put("b", b"2"), Put("b", b"3")], epoch=epoch)
    backend.clock.advance(20)
    await store.commit([], epoch=epoch)
    assert await store.get("a") == Versioned(b"2", 2)
    assert await store.get("b") == Versioned(b"3", 3)


async def test_a_put_that_is_expired_already_is_a_delete(store: Store, epoch: int, backend: Any) -> None:
    await store.commit([Put("a", b"1")], epoch=epoch)
    await store.commit([Put("a", b"2", backend.clock.now_s())], epoch=epoch)
    assert await store.get("a") is None


async def test_expired_keys_are_removed_a_bounded_number_at_a_time(
    store: Store, epoch: int, backend: Any
) -> None:
    at_s = backend.clock.now_s() + 10
    extra = CLEANUP_PER_COMMIT + 10
    await store.commit(
        [Put(f"{number}", b"", at_s) for number in range(extra)] + [Put("stays", b"")], epoch=epoch
    )
    backend.clock.advance(11)
    assert await keys(store) == ["stays"]
    await store.commit([], epoch=epoch)
    assert await backend.count_kept_keys() == extra - CLEANUP_PER_COMMIT + 1
    await store.commit([], epoch=epoch)
    assert await backend.count_kept_keys() == 1


async def test_a_scan_goes_past_many_expired_keys(store: Store, epoch: int, backend: Any) -> None:
    at_s = backend.clock.now_s() + 10
    await store.commit(
        [Put(f"a{number:04d}", b"", at_s) for number in range(2500)] + [Put("b", b"")], epoch=epoch
    )
    backend.clock.advance(11)
    assert await keys(store, limit=1) == ["b"]


async def test_a_commit_with_a_wrong_expectation_changes_nothing(store: Store, epoch: int) -> None:
    await store.commit([Put("a", b"1"), Append("l", b"1")], epoch=epoch)
    ops: list[Op] = [Put("a", b"2"), Put("new", b"2"), Delete("a"), Append("l", b"2"), Trim("l", 1)]
    for expect in ({"a": 2}, {"a": 0}, {"new": 1}, {"a": 1, "new": 3}):
        with pytest.raises(VersionConflict) as caught:
            await store.commit(ops, epoch=epoch, expect=expect)
        assert ("'new'" if "new" in expect else "'a'") in str(caught.value)
    assert await store.get("a") == Versioned(b"1", 1)
    assert await keys(store) == ["a"]
    assert await store.read_log("l") == [LogEntry(1, b"1")]


async def test_a_commit_whose_expectations_hold_is_applied(store: Store, epoch: int) -> None:
    await store.commit([Put("a", b"1")], epoch=epoch, expect={"a": 0, "b": 0})
    await store.commit([Put("a", b"2")], epoch=epoch, expect={"a": 1, "b": 0})
    assert await store.get("a") == Versioned(b"2", 2)


async def test_a_writer_with_an_old_epoch_is_refused_and_changes_nothing(store: Store, epoch: int) -> None:
    await store.commit([Put("a", b"1")], epoch=epoch)
    newer = await store.take_epoch()
    assert newer > epoch
    with pytest.raises(StaleEpoch):
        await store.commit([Put("a", b"2"), Append("l", b"2")], epoch=epoch)
    assert await store.get("a") == Versioned(b"1", 1)
    assert await store.read_log("l") == []
    await store.commit([Put("a", b"3")], epoch=newer)


async def test_an_epoch_that_was_never_given_out_is_refused(store: Store, epoch: int) -> None:
    # Seen when the data behind a running writer was replaced by an older copy.
    with pytest.raises(StaleEpoch):
        await store.commit([Put("a", b"1")], epoch=epoch + 1)
    assert await store.get("a") is None


async def test_an_empty_commit_still_checks_epoch_and_expectations(store: Store, epoch: int) -> None:
    await store.commit([], epoch=epoch, expect={"a": 0})
    with pytest.raises(VersionConflict):
        await store.commit([], epoch=epoch, expect={"a": 1})
    with pytest.raises(StaleEpoch):
        await store.commit([], epoch=epoch - 1)


async def test_a_commit_id_is_applied_once(store: Store, epoch: int) -> None:
    for _ in range(3):
        await store.commit(
            [Put("a", b"1"), Append("l", b"1")], epoch=epoch, expect={"a": 0}, commit_id="first"
        )
    assert await store.get("a") == Versioned(b"1", 1)
    assert await store.read_log("l") == [LogEntry(1, b"1")]


async def test_a_commit_id_is_known_to_the_next_writer_after_a_restart(backend: Any) -> None:
    store = await backend.open()
    first = await store.take_epoch()
    await store.commit([Append("l", b"1")], epoch=first, commit_id="same")
    await store.close()
    store = await backend.open()
    second = await store.take_epoch()
    await store.commit([Append("l", b"1")], epoch=second, commit_id="same")
    # What the old writer is told about its own commit stays true.
    await store.commit([Append("l", b"1")], epoch=first, commit_id="same")
    assert await store.read_log("l") == [LogEntry(1, b"1")]
    await store.close()


async def test_a_refused_commit_does_not_use_up_its_id(store: Store, epoch: int) -> None:
    with pytest.raises(VersionConflict):
        await store.commit([Put("a", b"1")], epoch=epoch, expect={"a": 5}, commit_id="again")
    await store.commit([Put("a", b"1")], epoch=epoch, expect={"a": 0}, commit_id="again")
    assert await store.get("a") == Versioned(b"1", 1)


async def test_commit_ids_are_kept_for_the_last_1024_commits(store: Store, epoch: int) -> None:
    await store.commit([Append("l", b"1")], epoch=epoch, commit_id="early")
    others = COMMIT_WINDOW - 1
    for start in range(0, others, 200):
        count = min(200, others - start)
        await asyncio.gather(*(store.commit([Put("n", b"")], epoch=epoch) for _ in range(count)))
    await store.commit([Append("l", b"1")], epoch=epoch, commit_id="early")
    assert len(await store.read_log("l")) == 1
    await store.commit([Put("n", b"")], epoch=epoch, commit_id="one more")
    await store.commit([Append("l", b"2")], epoch=epoch, commit_id="early")
    assert len(await store.read_log("l")) == 2


async def test_concurrent_commits_are_all_applied_and_logs_have_no_gaps(store: Store, epoch: int) -> None:
    await asyncio.gather(
        *(
            store.commit([Put(f"k{n:03d}", b"%d" % n), Append("l", b"%d" % n)], epoch=epoch)
            for n in range(400)
        )
    )
    assert len(await keys(store, "k")) == 400
    entries = await store.read_log("l")
    assert [entry.index for entry in entries] == list(range(1, 401))
    assert {int(entry.value) for entry in entries} == set(range(400))


async def test_of_concurrent_commits_with_one_expectation_exactly_one_wins(store: Store, epoch: int) -> None:
    async def contend(number: int) -> bool:
        try:
            await store.commit([Put("k", b"%d" % number)], epoch=epoch, expect={"k": 0})
        except VersionConflict:
            return False
        return True

    won = await asyncio.gather(*(contend(number) for number in range(50)))
    assert won.count(True) == 1
    assert await store.get("k") == Versioned(b"%d" % won.index(True), 1)


async def test_a_refused_commit_does_not_hurt_its_neighbours(store: Store, epoch: int) -> None:
    commits = [
        store.commit(
            [Put(f"k{n}", b"")], epoch=epoch - n % 3 // 2, expect={"never": 1} if n % 3 == 1 else None
        )
        for n in range(30)
    ]
    outcomes = await asyncio.gather(*commits, return_exceptions=True)
    kinds = [type(outcome).__name__ for outcome in outcomes]
    assert kinds == ["NoneType", "VersionConflict", "StaleEpoch"] * 10
    assert sorted(await keys(store)) == sorted(f"k{n}" for n in range(0, 30, 3))


async def test_a_caller_that_gives_up_hurts_nobody(store: Store, epoch: int) -> None:
    tasks = [asyncio.create_task(store.commit([Append("l", b"%d" % n)], epoch=epoch)) for n in range(20)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert outcomes[1::2] == [None] * 10
    values = {int(entry.value) for entry in await store.read_log("l")}
    assert values >= set(range(1, 20, 2))


async def test_everything_committed_is_there_after_a_restart(backend: Any) -> None:
    store = await backend.open()
    first = await store.take_epoch()
    await store.commit([Put("a", b"1"), Put("b", b"1"), Append("l", b"1"), Append("l", b"2")], epoch=first)
    await store.commit([Put("a", b"2"), Delete("b"), Trim("l", 1)], epoch=first)
    await store.close()

    store = await backend.open()
    assert await store.get("a") == Versioned(b"2", 2)
    assert await keys(store) == ["a"]
    assert await store.read_log("l") == [LogEntry(2, b"2")]
    second = await store.take_epoch()
    assert second > first
    with pytest.raises(StaleEpoch):
        await store.commit([Put("a", b"3")], epoch=first)
    await store.commit([Append("l", b"3")], epoch=second)
    assert await store.read_log("l", after=2) == [LogEntry(3, b"3")]
    await store.close()


async def test_a_closed_store_refuses_every_call(store: Store, epoch: int) -> None:
    await store.close()
    await store.close()
    for call in (
        store.get("a"),
        store.scan(""),
        store.read_log("l"),
        store.take_epoch(),
        store.commit([], epoch=epoch),
    ):
        with pytest.raises(StoreUnavailable, match="closed"):
            await call


async def test_close_settles_every_waiting_commit(store: Store, epoch: int) -> None:
    tasks = [asyncio.create_task(store.commit([Append("l", b"%d" % n)], epoch=epoch)) for n in range(600)]
    await asyncio.sleep(0)
    await store.close()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} <= {type(None), StoreUnavailable}


async def test_a_commit_larger_than_any_inner_chunk_is_applied_and_updated(store: Store, epoch: int) -> None:
    names = [f"agent/{number:05d}" for number in range(9000)]
    await store.commit(
        [Put(name, name.encode()) for name in names] + [Append("l", b"x")] * 300,
        epoch=epoch,
        expect=dict.fromkeys(names, 0),
    )
    await store.commit([Put(name, b"new") for name in names], epoch=epoch, expect=dict.fromkeys(names, 1))
    found = await store.scan("agent/", limit=10_000)
    assert found == [(name, Versioned(b"new", 2)) for name in names]
    await store.commit([Delete(name) for name in names[1:]], epoch=epoch)
    assert await keys(store) == names[:1]
    assert len(await store.read_log("l")) == 300


@pytest.mark.parametrize(
    ("ops", "text"),
    [
        ([Put("", b"")], "0 bytes"),
        ([Put("k" * 1025, b"")], "1025 bytes"),
        ([Put("\ud800", b"")], "UTF-8"),
        ([Put(5, b"")], "not text"),  # type: ignore[arg-type]  # what a caller without a type checker sends
        ([Put("k", "text")], "is str"),  # type: ignore[arg-type]  # as above
        ([Append("l", None)], "is NoneType"),  # type: ignore[arg-type]  # as above
        ([Put("k", b"", float("nan"))], "nan"),
        ([Put("k", b"", float("inf"))], "inf"),
        ([Trim("l", -1)], "-1"),
        ([Append("", b"")], "0 bytes"),
        (["no operation"], "str is no store operation"),
    ],
)
async def test_what_cannot_be_stored_is_refused_before_anything_happens(
    store: Store, epoch: int, ops: list[Op], text: str
) -> None:
    with pytest.raises(InvalidInput, match=re.escape(text)):
        await store.commit([Put("good", b""), *ops], epoch=epoch)
    assert await store.get("good") is None


async def test_a_commit_above_the_limits_is_refused(store: Store, epoch: int) -> None:
    with pytest.raises(PayloadTooLarge, match="Split it"):
        await store.commit([Delete("k")] * (MAX_OPS + 1), epoch=epoch)
    big = b"x" * (9 * 1024 * 1024)
    with pytest.raises(PayloadTooLarge, match="Split it"):
        await store.commit([Put(f"{n}", big) for n in range(8)], epoch=epoch)
    assert await keys(store) == []


@pytest.mark.parametrize("limit", [0, -1, 100_001])
async def test_a_page_size_out_of_range_is_refused(store: Store, limit: int) -> None:
    with pytest.raises(InvalidInput, match="limit"):
        await store.scan("", limit=limit)
    with pytest.raises(InvalidInput, match="limit"):
        await store.read_log("l", limit=limit)
    with pytest.raises(InvalidInput, match="after"):
        await store.read_log("l", after=-1)
