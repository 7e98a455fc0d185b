import asyncio
import contextlib

import pytest
import structlog

from tests.unit.bus.durable_bench import Bench, mail, numbers
from zejzl_ray.bus import outbox_journal, outbox_log
from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.bus.outbox import Outbox
from zejzl_ray.errors import (
    BusClosed,
    MailboxFull,
    MessageTooLarge,
    NotSerialisable,
    Overloaded,
    PayloadTooLarge,
    StaleEpoch,
    StoreError,
    StoreUnavailable,
)
from zejzl_ray.store import Append, Put, Trim
from zejzl_ray.store.image import epoch_after_restore


async def test_what_was_added_is_there_after_a_crash_in_its_order_and_with_its_sequences() -> None:
    bench = Bench()
    assert await bench.outbox.start() == []
    for number in range(3):
        await bench.outbox.add(mail(number))
    await bench.outbox.add_all([mail(3), mail(4)])
    assert bench.outbox.pending() == [1, 2, 3, 4, 5]
    again = await bench.new_outbox().start()
    assert numbers(again) == [0, 1, 2, 3, 4]
    assert [message.sequence for message in again] == [1, 2, 3, 4, 5]
    await bench.outbox.add(message := mail(5))
    assert message.sequence == 6


async def test_messages_that_come_while_a_commit_runs_go_together_in_one_entry() -> None:
    bench = Bench(commit_timeout_s=5)
    await bench.outbox.start()
    bench.out_store.gate = asyncio.Event()
    first = asyncio.create_task(bench.outbox.add(mail(0)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    others = [asyncio.create_task(bench.outbox.add(mail(number))) for number in range(1, 100)]
    await asyncio.sleep(0)
    bench.out_store.gate.set()
    await asyncio.gather(first, *others)
    assert [len(ops) for ops in bench.out_store.commits] == [1, 1]
    assert numbers(bench.committed) == list(range(100))
    assert bench.outbox.commits == 2


async def test_a_settled_message_is_gone_after_a_restart_and_its_entries_are_trimmed() -> None:
    bench = Bench()
    await bench.outbox.start()
    await bench.outbox.add_all([mail(0), mail(1)])
    await bench.outbox.add(mail(2))
    assert bench.outbox.settle([1, 3, 99]) == 2
    assert bench.outbox.settle([1]) == 0
    assert bench.outbox.pending() == [2]
    assert bench.outbox.encoded(1) is None
    assert bench.outbox.message(3) is None
    assert bench.outbox.oldest_unsettled() == 1  # not durable yet
    await bench.outbox.flush()
    assert bench.outbox.oldest_unsettled() == 2
    assert bench.out_state.logs[b"mail"].entries[0] is not None
    assert numbers(await bench.new_outbox().start()) == [1]
    bench.outbox.settle([2])
    await bench.outbox.flush()
    assert len(bench.out_state.logs[b"mail"].entries) == 1  # the one with the counters
    assert await bench.new_outbox().start() == []
    assert bench.outbox.totals() == {"acknowledged": 3}
    assert bench.outbox.oldest_unsettled() == 4


async def test_sequences_go_on_after_everything_was_settled() -> None:
    bench = Bench()
    await bench.outbox.start()
    await bench.outbox.add(mail())
    bench.outbox.settle([1])
    await bench.outbox.flush()
    await bench.new_outbox().start()
    await bench.outbox.add(message := mail())
    assert message.sequence == 2


async def test_after_a_restore_no_new_message_has_the_sequence_of_one_that_the_backup_did_not_know() -> None:
    bench = Bench()
    await bench.outbox.start()
    await bench.outbox.add(mail(0))
    # The store goes back to here; a receiver may have taken sequences 2, 3 ... since.
    bench.out_state.epoch = epoch_after_restore(bench.out_state.epoch, 1_800_000_000.0)
    again = await bench.new_outbox().start()
    assert [message.sequence for message in again] == [1]
    await bench.outbox.add(first := mail(1))
    assert first.sequence > 2**40
    await bench.new_outbox().start()
    await bench.outbox.add(second := mail(2))
    assert second.sequence == first.sequence + 1
    bench.out_state.epoch = epoch_after_restore(bench.out_state.epoch, 1_800_000_000.0)
    await bench.new_outbox().start()
    await bench.outbox.add(third := mail(3))
    assert second.sequence + 1_000_000 < third.sequence < 2**53


async def test_an_emptied_store_begins_an_outbox_with_another_identity() -> None:
    bench, other = Bench(), Bench()
    for each in (bench, other):
        await each.outbox.start()
        await each.outbox.add(mail())
    assert bench.outbox.origin != other.outbox.origin
    assert bench.outbox.origin.startswith("h1~")
    kept = bench.outbox.origin
    await bench.new_outbox().start()
    assert bench.outbox.origin == kept


async def test_a_settlement_is_stored_without_anybody_waiting_for_it() -> None:
    bench = Bench(settle_delay_s=0.0)
    await bench.outbox.start()
    await bench.outbox.add(mail())
    bench.outbox.settle([1])
    bench.outbox.settle([1])  # planned already
    for _ in range(20):
        await asyncio.sleep(0)
    assert bench.outbox.oldest_unsettled() == 2
    await bench.outbox.stop()


async def test_a_settlement_goes_with_the_next_messages() -> None:
    bench = Bench()
    await bench.outbox.start()
    await bench.outbox.add(mail())
    bench.outbox.settle([1])
    await bench.outbox.add(mail())
    assert bench.outbox.commits == 2
    assert bench.outbox.oldest_unsettled() == 2


async def test_a_settlement_that_the_store_does_not_take_stays_to_be_stored() -> None:
    bench = Bench(settle_delay_s=0.0)
    await bench.outbox.start()
    await bench.outbox.add(mail())
    bench.out_store.lose = "before"
    with structlog.testing.capture_logs():
        bench.outbox.settle([1])
        for _ in range(20):
            await asyncio.sleep(0)
    assert bench.outbox.oldest_unsettled() == 1
    assert bench.outbox.fault
    bench.out_store.lose = ""
    await bench.outbox.stop()
    assert await bench.new_outbox().start() == []


@pytest.mark.parametrize("lose", ["before", "after"])
async def test_a_message_that_the_store_did_not_confirm_is_not_sent_even_if_it_is_stored(lose: str) -> None:
    bench = Bench()
    await bench.outbox.start()
    bench.out_store.lose = lose
    refused = mail(1)
    with pytest.raises(StoreUnavailable):
        await bench.outbox.add(refused)
    assert refused.sequence == 0
    bench.out_store.lose = ""
    await bench.outbox.add(mail(2))
    await bench.outbox.flush()
    assert numbers(bench.committed) == [2]
    assert numbers([bench.outbox.message(sequence) or mail() for sequence in bench.outbox.pending()]) == [2]
    assert numbers(await bench.new_outbox().start()) == [2]
    assert bench.outbox.totals() == {"withdrawn": 1}
    await bench.outbox.stop()
    # The one that was repeated is there once: the outbox numbers its entries itself.
    assert bench.out_state.logs[b"mail"].last_index == 2


async def test_a_store_that_hangs_is_given_up_after_its_time_limit_and_everybody_hears_of_it() -> None:
    bench = Bench()
    await bench.outbox.start()
    bench.out_store.gate = asyncio.Event()
    outcomes = await asyncio.gather(*(bench.outbox.add(mail(n)) for n in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * 3
    bench.out_store.gate.set()
    await bench.outbox.stop()
    assert bench.committed == []


async def test_a_sender_that_leaves_before_its_turn_has_sent_nothing() -> None:
    bench = Bench(commit_timeout_s=5)
    await bench.outbox.start()
    bench.out_store.gate = asyncio.Event()
    tasks = [asyncio.create_task(bench.outbox.add(mail(0)))]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    tasks.append(asyncio.create_task(bench.outbox.add(mail(1))))
    await asyncio.sleep(0)
    for task in tasks:  # one is in the commit that runs, one waits for the next
        task.cancel()
    await asyncio.wait(tasks)
    bench.out_store.gate.set()
    await bench.outbox.add(mail(2))
    await bench.outbox.flush()
    assert numbers(bench.committed) == [2]
    assert bench.outbox.totals() == {"withdrawn": 1}
    await bench.outbox.stop()


async def test_a_second_outbox_of_the_same_host_ends_the_first() -> None:
    bench = Bench()
    first = bench.outbox
    await first.start()
    await bench.new_outbox().start()
    with structlog.testing.capture_logs():
        for _ in range(2):
            with pytest.raises(StaleEpoch, match="taken over the outbox of h1"):
                await first.add(mail(1))
        with pytest.raises(StaleEpoch):
            await first.flush()
        await bench.outbox.add(mail(2))
        await first.stop()
    assert numbers(await bench.new_outbox().start()) == [2]


async def test_a_full_outbox_refuses_and_says_so() -> None:
    bench = Bench(capacity=2)
    await bench.outbox.start()
    await bench.outbox.add_all([mail(0), mail(1)])
    with pytest.raises(MailboxFull, match="outbox of h1 is full: 2 messages") as caught:
        await bench.outbox.add(mail(2))
    assert isinstance(caught.value, Overloaded)
    bench.outbox.settle([1])
    await bench.outbox.add(mail(2))
    assert len(bench.outbox) == 2


async def test_messages_on_their_way_into_the_store_count_as_well() -> None:
    bench = Bench(capacity=2)
    await bench.outbox.start()
    outcomes = await asyncio.gather(*(bench.outbox.add(mail(n)) for n in range(4)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [type(None), type(None), MailboxFull, MailboxFull]


async def test_an_outbox_is_bounded_in_bytes_too() -> None:
    bench = Bench(capacity_bytes=1000)
    await bench.outbox.start()
    await bench.outbox.add(mail(metadata={"text": "x" * 600}))
    with pytest.raises(MailboxFull, match="bytes of messages"):
        await bench.outbox.add(mail(metadata={"text": "x" * 600}))
    assert bench.outbox.stored_bytes > 600


async def test_what_cannot_be_kept_is_refused_before_anything_is_stored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench(max_message_bytes=1000)
    await bench.outbox.start()
    bad = mail()
    bad.content["what"] = object()
    good = mail()
    with pytest.raises(NotSerialisable):
        await bench.outbox.add_all([good, bad])
    assert good.sequence == bad.sequence == 0
    with pytest.raises(MessageTooLarge):
        await bench.outbox.add(mail(metadata={"text": "x" * 1000}))
    monkeypatch.setattr("zejzl_ray.bus.outbox.MAX_ADDED_BYTES", 1000)
    with pytest.raises(PayloadTooLarge, match="Split it"):
        await bench.outbox.add_all([mail(metadata={"text": "x" * 600})] * 2)
    assert bench.out_store.commits == []


async def test_an_outbox_that_does_not_run_says_so() -> None:
    bench = Bench()
    with pytest.raises(BusClosed, match="not running"):
        await bench.outbox.add(mail())
    await bench.outbox.start()
    await bench.outbox.stop()
    await bench.outbox.stop()
    with pytest.raises(BusClosed):
        await bench.outbox.add(mail())


async def test_stopping_with_the_store_away_is_no_error() -> None:
    bench = Bench()
    await bench.outbox.start()
    await bench.outbox.add(mail())
    bench.outbox.settle([1])
    bench.out_state.is_reachable = False
    with structlog.testing.capture_logs() as logs:
        await bench.outbox.stop()
    assert "not stored" in logs[-1]["event"]


async def test_starting_with_the_store_away_can_be_repeated() -> None:
    bench = Bench()
    bench.out_state.is_reachable = False
    with pytest.raises(StoreUnavailable):
        await bench.outbox.start()
    bench.out_state.is_reachable = True
    assert await bench.outbox.start() == []


async def test_a_store_that_refuses_for_good_is_named_and_blocks_nobody_else() -> None:
    bench = Bench()
    await bench.outbox.start()
    bench.out_store.lose = "refused"
    outcomes = await asyncio.gather(*(bench.outbox.add(mail(n)) for n in range(2)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [StoreError, StoreError]
    assert "the disk is no disk" in str(outcomes[0])
    bench.out_store.lose = ""
    await bench.outbox.add(mail(2))
    (sequence,) = bench.outbox.pending()
    message = bench.outbox.message(sequence)
    assert message is not None
    assert message.content == {"number": 2}


@pytest.mark.parametrize("value", [b"", b"\xc1", b"\x96\x01", b"not a list"])
async def test_an_entry_that_cannot_be_read_is_named(value: bytes) -> None:
    bench = Bench()
    await bench.outbox.start()
    await bench.outbox.add(mail())
    await bench.outbox.add(mail())
    bench.out_state.logs[b"mail"].entries[1] = value
    with pytest.raises(StoreError, match=r"Entry 2 of the log 'mail' in the outbox of h1 cannot be read"):
        await bench.new_outbox().start()
    with pytest.raises(BusClosed):
        await bench.outbox.add(mail())


async def test_an_entry_of_a_newer_version_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    await bench.outbox.start()
    monkeypatch.setattr(outbox_log, "_FORMAT", 2)
    await bench.outbox.add(mail())
    monkeypatch.undo()
    with pytest.raises(StoreError, match="newer version"):
        await bench.new_outbox().start()


async def test_more_entries_than_one_page_are_loaded() -> None:
    bench = Bench()
    await bench.outbox.start()
    for number in range(60):
        await bench.outbox.add(mail(number))
    assert numbers(await bench.new_outbox().start()) == list(range(60))


async def test_large_pages_are_not_made_larger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_journal, "_PAGE_BYTES", 1)
    bench = Bench()
    await bench.outbox.start()
    for number in range(40):
        await bench.outbox.add(mail(number))
    assert numbers(await bench.new_outbox().start()) == list(range(40))


async def test_one_stuck_message_does_not_keep_the_others_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_log, "_USELESS_BYTES", 20_000)
    bench = Bench()
    await bench.outbox.start()
    await bench.outbox.add(stuck := mail(0, to="gone"))
    for number in range(1, 2000):
        await bench.outbox.add(message := mail(number))
        bench.outbox.settle([message.sequence])
    kept = bench.out_state.logs[b"mail"].entries
    assert sum(map(len, kept)) < 30_000
    assert bench.outbox.stored_bytes < 50_000
    assert bench.outbox.oldest_unsettled() == stuck.sequence
    assert bench.outbox.oldest_unsettled("reader") == 2000  # the last one is not settled durably yet
    await bench.outbox.flush()
    assert numbers(await bench.new_outbox().start()) == [0]


async def test_what_is_written_again_is_bounded_by_what_a_store_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outbox_log, "_USELESS_BYTES", 0)
    monkeypatch.setattr(outbox_log, "MAX_ENTRY_BYTES", 1000)
    bench = Bench()
    await bench.outbox.start()
    await bench.outbox.add_all(
        [mail(number, to="gone", metadata={"text": "x" * 100}) for number in range(10)]
    )
    for number in range(10, 60):
        await bench.outbox.add(message := mail(number))
        bench.outbox.settle([message.sequence])
    assert max(map(len, bench.out_state.logs[b"mail"].entries)) < 4000
    assert bench.outbox.pending("gone") == list(range(1, 11))
    await bench.outbox.flush()
    assert numbers(await bench.new_outbox().start()) == list(range(10))


async def test_many_stuck_messages_are_written_again_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_log, "_USELESS_BYTES", 0)
    monkeypatch.setattr(outbox_log, "_MOVED_BYTES", 500)
    bench = Bench()
    await bench.outbox.start()
    for number in range(50):
        await bench.outbox.add(mail(number, to="gone"))
        await bench.outbox.add(message := mail(1000))
        bench.outbox.settle([message.sequence])
    for _ in range(200):
        await bench.outbox.add(message := mail(1000))
        bench.outbox.settle([message.sequence])
    await bench.outbox.flush()
    assert len(bench.out_state.logs[b"mail"].entries) < 120
    assert numbers(await bench.new_outbox().start()) == list(range(50))


async def test_dead_letters_outlive_the_process_with_their_reason_and_are_bounded() -> None:
    bench = Bench(dead_letters=2)
    await bench.outbox.start()
    await bench.outbox.add_all([mail(number) for number in range(4)])
    bench.outbox.settle([1, 2], DeadLetterReason.EXPIRED)
    await bench.outbox.flush()
    bench.outbox.settle([3], DeadLetterReason.NOT_ACKNOWLEDGED)
    bench.outbox.settle([4])
    await bench.outbox.flush()
    await bench.new_outbox().start()
    kept = await bench.outbox.dead_letters()
    assert [(letter.reason, letter.message.content["number"]) for letter in kept] == [
        ("expired", 1),
        ("not_acknowledged", 2),
    ]
    assert kept[0].at_s == bench.clock.now_s()
    assert numbers([letter.message for letter in await bench.outbox.dead_letters(1)]) == [2]
    assert bench.outbox.totals() == {"expired": 2, "not_acknowledged": 1, "acknowledged": 1}
    assert len(bench.out_state.logs[b"dead_letters"].entries) == 2
    bench.out_state.logs[b"dead_letters"].entries[1] = b"?"
    with pytest.raises(StoreError, match=r"Entry 3 of the log 'dead_letters'"):
        await bench.outbox.dead_letters()


async def test_many_dead_letters_go_in_several_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_journal, "MAX_DEAD_BYTES", 500)
    bench = Bench()
    await bench.outbox.start()
    await bench.outbox.add_all([mail(number) for number in range(50)])
    bench.outbox.settle(range(1, 51), DeadLetterReason.UNREACHABLE)
    await bench.outbox.flush()
    assert bench.outbox.totals() == {"unreachable": 50}
    assert bench.outbox.commits > 5


async def test_a_listener_that_stumbles_loses_no_mail() -> None:
    bench = Bench()

    def stumble(_: object) -> None:
        raise RuntimeError("oops")

    bench.outbox = Outbox(bench.out_store, "h1", bench.clock, on_commit=stumble)
    await bench.outbox.start()
    with structlog.testing.capture_logs() as logs:
        await bench.outbox.add(mail())
    assert logs[-1]["event"] == "news of kept mail were not taken"
    assert bench.outbox.pending() == [1]


async def test_a_group_is_one_append_and_settling_adds_a_trim() -> None:
    bench = Bench()
    await bench.outbox.start()
    await bench.outbox.add_all([mail(n) for n in range(10)])
    bench.outbox.settle(range(1, 11))
    await bench.outbox.add(mail())
    assert [[type(op) for op in ops] for ops in bench.out_store.commits] == [[Append], [Append, Trim]]
    assert Put not in {type(op) for ops in bench.out_store.commits for op in ops}


async def test_a_damaged_list_of_settled_messages_takes_no_time() -> None:
    bench = Bench()
    await bench.outbox.start()
    await bench.outbox.add_all([mail(n) for n in range(3)])
    bench.outbox.settle([2])
    await bench.outbox.flush()
    entries = bench.out_state.logs[b"mail"].entries
    entry = outbox_log._decode_entry(entries[1])
    entry.settled = [2, 2**62]
    entries[1] = outbox_log._encode(entry)
    assert numbers(await bench.new_outbox().start()) == [0]


async def test_zombie_of_a_lost_answer_does_not_take_the_store_back() -> None:
    bench = Bench()
    first, store = bench.outbox, bench.out_store
    await first.start()
    store.lose = "before"
    with pytest.raises(StoreUnavailable):
        await first.add(mail(1))
    await bench.new_outbox().start()
    store.lose = ""
    with structlog.testing.capture_logs(), pytest.raises(StaleEpoch):
        await first.add(mail(2))
    await bench.outbox.add(mail(3))
    assert bench.outbox.pending() == [1]
    with contextlib.suppress(StaleEpoch):
        await first.stop()
