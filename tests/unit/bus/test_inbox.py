import asyncio

import pytest
import structlog

from tests.unit.bus.durable_bench import Bench
from zejzl_ray.bus import inbox_journal
from zejzl_ray.bus.inbox import Inbox
from zejzl_ray.bus.received import Receipt
from zejzl_ray.errors import BusClosed, InvalidInput, StaleEpoch, StoreError, StoreUnavailable
from zejzl_ray.store import Delete, Put

H = "h1~abc"


async def started(**options: object) -> Bench:
    bench = Bench()
    bench.new_inbox(**options)
    await bench.inbox.start()
    return bench


async def test_a_message_is_new_once() -> None:
    bench = await started()
    inbox = bench.inbox
    assert inbox.is_new(H, 1)
    assert inbox.accept(H, 1) is Receipt.NEW
    assert not inbox.is_new(H, 1)
    assert inbox.accept(H, 1) is Receipt.HELD
    assert inbox.held() == 1
    await inbox.acknowledge(H, 1)
    assert inbox.accept(H, 1) is Receipt.ACKNOWLEDGED
    assert inbox.held() == 0
    assert bench.acknowledged == [(H, 1)]
    assert inbox.accept("h2~abc", 1) is Receipt.NEW  # another outbox counts for itself


async def test_what_was_acknowledged_is_known_after_a_crash_and_what_was_not_is_new() -> None:
    bench = await started()
    for sequence in (1, 2, 9000, 9001):
        bench.inbox.accept(H, sequence)
    await bench.inbox.acknowledge(H, 2)
    await bench.inbox.acknowledge(H, 9000)
    await bench.new_inbox().start()
    receipts = [bench.inbox.accept(H, sequence) for sequence in (1, 2, 9000, 9001)]
    assert receipts == [Receipt.NEW, Receipt.ACKNOWLEDGED, Receipt.ACKNOWLEDGED, Receipt.NEW]


async def test_state_and_acknowledgement_are_one_commit() -> None:
    bench = await started()
    bench.inbox.accept(H, 1)
    await bench.inbox.acknowledge(H, 1, state=b"one")
    assert bench.inbox.state == b"one"
    assert [{type(op) for op in ops} for ops in bench.in_store.commits] == [{Put}]
    assert await bench.new_inbox().start() == b"one"
    await bench.inbox.save(b"two")
    assert await bench.new_inbox().start() == b"two"
    assert not bench.inbox.is_new(H, 1)


async def test_acknowledgements_that_come_while_a_commit_runs_go_together() -> None:
    bench = await started(commit_timeout_s=5)
    bench.in_store.gate = asyncio.Event()
    tasks = [asyncio.create_task(bench.inbox.acknowledge(H, 1))]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    tasks += [asyncio.create_task(bench.inbox.acknowledge(H, sequence)) for sequence in range(2, 300)]
    await asyncio.sleep(0)
    bench.in_store.gate.set()
    await asyncio.gather(*tasks)
    assert bench.inbox.commits == 2
    assert len(bench.in_store.commits[1]) == 1  # one put
    assert sorted(bench.acknowledged) == [(H, sequence) for sequence in range(1, 300)]


async def test_nobody_need_wait_for_an_acknowledgement() -> None:
    bench = await started()
    for sequence in range(1, 100):
        bench.inbox.acknowledge_soon(H, sequence, state=b"%d" % sequence)
    assert bench.acknowledged == []
    assert bench.inbox.accept(H, 7) is Receipt.HELD
    await bench.inbox.flush()
    assert len(bench.acknowledged) == 99
    assert bench.inbox.state == b"99"
    assert bench.inbox.commits == 1
    bench.inbox.acknowledge_soon(H, 7)  # was stored before
    bench.inbox.acknowledge_soon(H, 100)
    await bench.inbox.stop()
    await bench.new_inbox().start()
    assert not bench.inbox.is_new(H, 100)


async def test_an_acknowledgement_that_nobody_waits_for_is_tried_again_when_the_store_is_back() -> None:
    bench = await started()
    bench.in_store.lose = "before"
    with structlog.testing.capture_logs() as logs:
        bench.inbox.acknowledge_soon(H, 1)
        for _ in range(20):
            await asyncio.sleep(0)
    assert logs[-1]["event"] == "acknowledgements wait for the store"
    assert bench.inbox.fault
    bench.in_store.lose = ""
    bench.inbox.acknowledge_soon(H, 2)
    await bench.inbox.flush()
    assert sorted(bench.acknowledged) == [(H, 1), (H, 2)]
    await bench.inbox.stop()


@pytest.mark.parametrize("lose", ["before", "after"])
async def test_an_acknowledgement_that_failed_goes_with_the_next_one_before_any_later_state(
    lose: str,
) -> None:
    bench = await started()
    for sequence in (1, 2):
        bench.inbox.accept(H, sequence)
    bench.in_store.lose = lose
    with pytest.raises(StoreUnavailable):
        await bench.inbox.acknowledge(H, 1, state=b"one")
    assert bench.inbox.accept(H, 1) is Receipt.HELD  # handled: not again in this process
    bench.in_store.lose = ""
    await bench.inbox.acknowledge(H, 2, state=b"two")
    assert sorted(bench.acknowledged) == [(H, 1), (H, 2)]
    assert await bench.new_inbox().start() == b"two"
    assert not bench.inbox.is_new(H, 1)


async def test_an_agent_that_moved_cannot_acknowledge_at_its_old_place() -> None:
    bench = await started()
    old, store = bench.inbox, bench.in_store
    old.accept(H, 1)
    await bench.new_inbox().start()
    with structlog.testing.capture_logs():
        with pytest.raises(StaleEpoch, match="reader is in another process"):
            await old.acknowledge(H, 1, state=b"old")
        for refused in (
            lambda: old.accept(H, 2),
            lambda: old.advance(H, 2),
            lambda: old.acknowledge_soon(H, 1),
        ):
            with pytest.raises(StaleEpoch):
                refused()
        await old.stop()
    assert len(store.commits) == 1
    assert bench.inbox.accept(H, 1) is Receipt.NEW
    assert bench.inbox.state is None


async def test_an_old_place_whose_answer_was_lost_does_not_take_the_agent_back() -> None:
    bench = await started()
    old, store = bench.inbox, bench.in_store
    store.lose = "before"
    with pytest.raises(StoreUnavailable):
        await old.acknowledge(H, 1, state=b"old")
    await bench.new_inbox().start()
    store.lose = ""
    with structlog.testing.capture_logs(), pytest.raises(StaleEpoch):
        await old.flush()
    await bench.inbox.save(b"new")
    assert bench.inbox.state == b"new"
    with structlog.testing.capture_logs():
        await old.stop()


async def test_what_was_released_is_new_again() -> None:
    bench = await started()
    bench.inbox.accept(H, 1)
    bench.inbox.release(H, 1)
    bench.inbox.release("unknown", 1)
    assert bench.inbox.accept(H, 1) is Receipt.NEW


async def test_what_was_rejected_is_said_to_be_so_until_its_sender_has_settled_it() -> None:
    bench = await started()
    bench.inbox.accept(H, 1)
    bench.inbox.reject(H, 1, "not_acknowledged")
    bench.inbox.reject("unknown", 1, "never mind")
    assert bench.inbox.accept(H, 1) is Receipt.REJECTED
    assert bench.inbox.why_rejected(H, 1) == "not_acknowledged"
    assert bench.inbox.why_rejected("unknown", 1) == ""
    await bench.inbox.acknowledge(H, 2)
    bench.inbox.reject(H, 2, "too late")
    assert bench.inbox.accept(H, 2) is Receipt.ACKNOWLEDGED
    bench.inbox.advance(H, 10_000)
    assert bench.inbox.why_rejected(H, 1) == ""
    assert bench.inbox.accept(H, 1) is Receipt.ACKNOWLEDGED


async def test_a_message_far_above_the_oldest_open_one_is_left_with_its_sender() -> None:
    bench = await started(window=10)
    assert bench.inbox.accept(H, 10) is Receipt.NEW
    assert bench.inbox.accept(H, 11) is Receipt.FULL
    with pytest.raises(InvalidInput, match="never accepted"):
        await bench.inbox.acknowledge(H, 11)
    bench.inbox.advance(H, 2)
    bench.inbox.advance(H, 1)  # an older batch, late
    assert bench.inbox.accept(H, 11) is Receipt.NEW
    assert bench.inbox.accept(H, 1) is Receipt.ACKNOWLEDGED


async def test_what_is_settled_at_the_sender_is_forgotten_here_and_in_the_store() -> None:
    bench = await started()
    for sequence in range(1, 40_000, 997):
        await bench.inbox.acknowledge(H, sequence)
    chunks = len([key for key in bench.in_state.values if key.startswith(b"acknowledged/")])
    assert chunks == 5
    bench.inbox.accept(H, 5)
    bench.inbox.advance(H, 39_000)
    assert bench.inbox.held() == 0
    await bench.inbox.acknowledge(H, 39_001)
    keys = sorted(bench.in_state.values)
    assert keys == [b"acknowledged/h1~abc/4", b"inbox/h1~abc"]
    await bench.new_inbox().start()
    assert bench.inbox.accept(H, 38_999) is Receipt.ACKNOWLEDGED
    assert bench.inbox.accept(H, 39_000) is Receipt.NEW


async def test_forgetting_and_remembering_where_from_are_one_commit() -> None:
    bench = await started()
    await bench.inbox.acknowledge(H, 1)
    bench.inbox.advance(H, 10_000)
    await bench.inbox.acknowledge(H, 10_000)
    assert {type(op) for op in bench.in_store.commits[-1]} == {Put, Delete}
    assert [op.key for op in bench.in_store.commits[-1]] == [
        "acknowledged/h1~abc/1",
        "inbox/h1~abc",
        "acknowledged/h1~abc/0",
    ]


async def test_a_settlement_that_comes_while_its_acknowledgement_is_stored_leaves_nothing_behind() -> None:
    bench = await started(commit_timeout_s=5)
    bench.in_store.gate = asyncio.Event()
    task = asyncio.create_task(bench.inbox.acknowledge(H, 1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    bench.inbox.advance(H, 20_000)
    bench.in_store.gate.set()
    await task
    bench.inbox.acknowledge_soon(H, 3)  # settled already: nothing to store
    await bench.inbox.acknowledge(H, 20_000)
    assert sorted(bench.in_state.values) == [b"acknowledged/h1~abc/2", b"inbox/h1~abc"]
    await bench.inbox.stop()


async def test_an_acknowledgement_of_what_was_settled_meanwhile_costs_nothing() -> None:
    bench = await started()
    bench.in_store.lose = "before"
    with pytest.raises(StoreUnavailable):
        await bench.inbox.acknowledge(H, 1)
    bench.in_store.lose = ""
    await bench.inbox.flush()
    bench.inbox.advance(H, 5)
    await bench.inbox.acknowledge(H, 4)
    assert len(bench.in_store.commits) == 2
    window = bench.inbox._journal.windows[H]
    window.done.add(3)
    await bench.inbox.flush()
    assert not window.done
    assert len(bench.in_store.commits) == 2
    await bench.inbox.stop()


async def test_a_lost_chunk_of_a_settled_range_is_removed_after_a_restart() -> None:
    bench = await started()
    await bench.inbox.acknowledge(H, 1)
    await bench.inbox.acknowledge(H, 9000)
    bench.inbox.advance(H, 8192)
    await bench.inbox.acknowledge(H, 9001)
    bench.in_state.values[b"acknowledged/h1~abc/0"] = bench.in_state.values[b"acknowledged/h1~abc/1"]
    await bench.new_inbox().start()
    assert bench.inbox.accept(H, 808) is Receipt.ACKNOWLEDGED
    await bench.inbox.acknowledge(H, 9002)
    assert b"acknowledged/h1~abc/0" not in bench.in_state.values


async def test_origins_are_bounded_and_those_that_were_silent_for_a_week_make_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(inbox_journal, "MAX_ORIGINS", 8)
    bench = await started()
    for number in range(8):
        await bench.inbox.acknowledge(f"h{number}", 1)
    bench.inbox.accept("h1", 2)  # still held
    assert bench.inbox.accept("h8", 1) is Receipt.FULL
    bench.inbox.advance("h8", 5)
    with pytest.raises(InvalidInput, match="No message of h8"):
        await bench.inbox.acknowledge("h8", 1)
    bench.clock.advance(8 * 86_400)
    assert bench.inbox.accept("h8", 1) is Receipt.NEW
    await bench.inbox.acknowledge("h8", 1)
    heads = sorted(key for key in bench.in_state.values if key.startswith(b"inbox/"))
    assert heads == [b"inbox/h%d" % number for number in (1, 2, 3, 4, 5, 6, 7, 8)]
    assert bench.inbox.accept("h9", 1) is Receipt.FULL  # the next in line is held
    bench.inbox.accept("h8", 9)
    assert bench.inbox.held() == 2


async def test_an_origin_that_was_never_stored_is_forgotten_without_a_trace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(inbox_journal, "MAX_ORIGINS", 8)
    bench = await started()
    for number in range(8):
        bench.inbox.advance(f"h{number}", 1)
    bench.clock.advance(8 * 86_400)
    assert bench.inbox.accept("h8", 1) is Receipt.NEW
    await bench.inbox.flush()
    assert bench.in_store.commits == []


async def test_bad_input_is_refused_with_its_name() -> None:
    bench = await started()
    for origin in ("", "a/b", "x" * 257):
        with pytest.raises(InvalidInput, match="names no outbox"):
            bench.inbox.accept(origin, 1)
    with pytest.raises(InvalidInput, match="start at 1"):
        bench.inbox.accept(H, 0)
    with pytest.raises(InvalidInput, match="not bytes"):
        await bench.inbox.save("text")  # type: ignore[arg-type]  # what a user may do
    with pytest.raises(InvalidInput, match="window of 0"):
        Inbox(bench.in_store, "reader", bench.clock, window=0)


async def test_an_inbox_that_does_not_run_says_so() -> None:
    bench = Bench()
    with pytest.raises(BusClosed, match="not running"):
        bench.inbox.accept(H, 1)
    await bench.inbox.stop()
    await bench.new_inbox().start()
    await bench.inbox.stop()
    await bench.inbox.stop()
    with pytest.raises(BusClosed):
        await bench.inbox.acknowledge(H, 1)


async def test_stopping_with_the_store_away_is_no_error() -> None:
    bench = await started()
    bench.in_state.is_reachable = False
    bench.inbox.acknowledge_soon(H, 1)
    with structlog.testing.capture_logs() as logs:
        await bench.inbox.stop()
    assert any("not stored" in line["event"] for line in logs)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("inbox/h1~abc", b"?"),
        ("inbox/h1~abc", b"\x93\x02\x01\xcb" + bytes(8)),
        ("acknowledged/h1~abc/0", b"x" * 1025),
        ("acknowledged/h1~abc/x", b""),
        ("acknowledged/stranger/0", b""),
    ],
)
async def test_a_record_that_cannot_be_read_is_named(key: str, value: bytes) -> None:
    bench = await started()
    await bench.inbox.acknowledge(H, 1)
    epoch = await bench.in_store.take_epoch()
    await bench.in_store.commit([Put(key, value)], epoch=epoch)
    with pytest.raises(StoreError, match=f"record {key} of the inbox of reader cannot be read"):
        await bench.new_inbox().start()


async def test_a_listener_that_stumbles_loses_no_acknowledgement() -> None:
    bench = Bench()

    def stumble(_: object) -> None:
        raise RuntimeError("oops")

    inbox = Inbox(bench.in_store, "reader", bench.clock, on_commit=stumble)
    await inbox.start()
    with structlog.testing.capture_logs() as logs:
        await inbox.acknowledge(H, 1)
    assert logs[-1]["event"] == "news of acknowledged mail were not taken"
    assert not inbox.is_new(H, 1)


async def test_one_slow_message_does_not_make_commits_larger() -> None:
    bench = await started()
    bench.inbox.accept(H, 1)  # its handler takes an hour
    for sequence in range(2, 500_000, 4999):
        await bench.inbox.acknowledge(H, sequence)
    assert max(len(op.value) for ops in bench.in_store.commits for op in ops if isinstance(op, Put)) <= 1024
    assert max(map(len, bench.in_store.commits)) <= 2
