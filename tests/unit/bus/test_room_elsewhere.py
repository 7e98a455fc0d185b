"""Mail for full mailboxes of other processes whose senders wait."""

import asyncio

import pytest

from tests.unit.bus.linked_offices import CALL_S, Offices, note, numbers, rest
from tests.unit.bus.virtual_time import in_virtual_time
from zejzl_ray.bus import codec
from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.bus.mailbox import Mailbox, Overflow
from zejzl_ray.bus.message import Message
from zejzl_ray.bus.ports import Outgoing
from zejzl_ray.errors import MailboxFull, RequestTimedOut


def slow_and_quick(capacity: int = 10, **options: object) -> Offices:
    """A writer on host a; on host b an agent whose senders wait, and one with room."""
    offices = Offices("a", "b", **options)
    offices.open("a", "writer")
    offices.open("b", "slow", capacity=capacity, overflow=Overflow.WAIT)
    offices.open("b", "quick")
    return offices


async def read(offices: Offices, count: int, each_s: float = 0.0, agent: str = "slow") -> list[Message]:
    taken = []
    for _ in range(count):
        taken.append(await offices.offices["b"].receive(agent, 100.0))
        await asyncio.sleep(each_s)
    return taken


@in_virtual_time
async def test_a_slow_receiver_gets_all_of_its_mail_in_order_and_its_host_is_not_held_to_be_gone() -> None:
    offices = slow_and_quick()
    office = offices.offices["a"]
    for number in range(400):
        await office.send(note(number, "slow"))
    assert numbers(await read(offices, 400, 0.02)) == list(range(400))
    assert not office.dead_letters.counts()
    assert max(took_s for _, took_s in offices.wires["a"].calls) < CALL_S / 3
    await offices.close()


@in_virtual_time
async def test_mail_that_is_sent_meanwhile_stays_behind_what_waits() -> None:
    offices = slow_and_quick(capacity=1)
    office = offices.offices["a"]
    reading = asyncio.create_task(read(offices, 60, 0.1))
    for number in range(60):
        await office.send(note(number, "slow"))
        await asyncio.sleep(0.05)
    assert numbers(await reading) == list(range(60))
    await offices.close()


@in_virtual_time
async def test_two_batches_under_way_at_once_keep_their_order() -> None:
    offices = slow_and_quick(capacity=3, batch_messages=4)
    offices.wires["a"].delay_s = 0.01
    office = offices.offices["a"]
    for number in range(30):
        await office.send(note(number, "slow"))
    assert numbers(await read(offices, 30, 0.01)) == list(range(30))
    await offices.close()


@in_virtual_time
async def test_mail_for_others_goes_on_meanwhile() -> None:
    offices = slow_and_quick()
    office = offices.offices["a"]
    for number in range(100):
        await office.send(note(number, "slow"))
        await office.send(note(number, "quick"))
    begun_s = asyncio.get_running_loop().time()
    assert numbers(await read(offices, 100, agent="quick")) == list(range(100))
    await office.send(note(100, "quick"))
    await read(offices, 1, agent="quick")
    assert asyncio.get_running_loop().time() - begun_s < 0.1
    await offices.close()


@in_virtual_time
async def test_mail_that_finds_no_room_in_its_time_is_a_dead_letter() -> None:
    offices = slow_and_quick(capacity=1, default_timeout_s=5.0)
    office = offices.offices["a"]
    for number in range(3):
        await office.send(note(number, "slow"))
    await asyncio.sleep(8)
    assert [letter.reason for letter in office.dead_letters.letters()] == [DeadLetterReason.MAILBOX_FULL] * 2
    assert office.links()[0].is_idle
    await read(offices, 1)
    await office.send(note(3, "slow"))
    assert numbers(await read(offices, 1)) == [3]
    await offices.close()


@in_virtual_time
async def test_a_request_that_finds_no_room_ends_with_its_own_time() -> None:
    offices = slow_and_quick(capacity=1)
    office = offices.offices["a"]
    await office.send(note(0, "slow"))
    with pytest.raises((RequestTimedOut, MailboxFull)):
        await office.request(note(1, "slow"), 2.0)
    await asyncio.sleep(3)
    assert office.dead_letters.counts() == {DeadLetterReason.MAILBOX_FULL: 1}
    await offices.close()


@in_virtual_time
async def test_what_waits_is_bounded_and_its_senders_wait_then() -> None:
    offices = slow_and_quick(capacity=1, link_capacity=16)
    office = offices.offices["a"]
    sending = asyncio.create_task(_send(offices, 40))
    await asyncio.sleep(1)
    assert not sending.done()
    await office.send(note(0, "quick"))
    assert numbers(await read(offices, 1, agent="quick")) == [0]
    assert numbers(await read(offices, 40, 0.01)) == list(range(40))
    await sending
    await offices.close()


async def _send(offices: Offices, count: int) -> None:
    for number in range(count):
        await offices.offices["a"].send(note(number, "slow"))


@in_virtual_time
async def test_mail_that_goes_back_with_answers_waits_for_room_too() -> None:
    offices = Offices("a", "b")
    offices.open("a", "asker", capacity=1, overflow=Overflow.WAIT)
    offices.open("b", "answerer")
    there = offices.offices["b"]
    there.link("a").can_go_back = frozenset(["answerer"])
    offices.wires["a"].delay_s = 0.01
    await offices.offices["a"].send(note(0, "answerer", sender="asker"))
    there.link("a").tell()
    for number in range(20):
        await there.send(note(number, "asker", sender="answerer"))
        await offices.offices["a"].send(note(number, "answerer", sender="asker"))
        await asyncio.sleep(0.01)
    got = []
    for _ in range(20):
        got.append(await offices.offices["a"].receive("asker", 20.0))
        await asyncio.sleep(0.02)
    assert numbers(got) == list(range(20))
    await offices.close()


@in_virtual_time
async def test_the_end_of_the_host_ends_the_waiting() -> None:
    offices = slow_and_quick(capacity=1)
    office = offices.offices["a"]
    for number in range(5):
        await office.send(note(number, "slow"))
    await asyncio.sleep(0.1)
    del offices.offices["b"]
    office.link("b").peer_gone("killed")
    await asyncio.sleep(10)
    assert office.dead_letters.counts()[DeadLetterReason.UNREACHABLE] >= 3
    assert office.links()[0].is_idle
    await offices.close()


@in_virtual_time
async def test_what_waits_for_room_when_the_process_stops_is_a_dead_letter() -> None:
    offices = slow_and_quick(capacity=1)
    office = offices.offices["a"]
    for number in range(5):
        await office.send(note(number, "slow"))
    await rest()
    assert not await office.flush(1.0)
    await office.close()
    assert office.dead_letters.counts() == {DeadLetterReason.UNREACHABLE: 4}
    await offices.close()


@in_virtual_time
async def test_a_place_that_gets_free_as_time_runs_out_is_no_failure() -> None:
    """Time is over, and before the sender goes on somebody takes a message."""
    box = Mailbox("reader", capacity=1, overflow=Overflow.WAIT)
    box.put(note(0, "reader"))
    waiting = asyncio.create_task(box.room(note(1, "reader"), 1.0))
    await rest(3)
    asyncio.get_running_loop().call_later(1.0, box.take)
    with pytest.raises(MailboxFull):
        await waiting
    box.put(note(2, "reader"))
    assert len(box) == 1


@in_virtual_time
async def test_a_message_that_meets_a_failure_is_refused_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    offices = slow_and_quick()
    put = Mailbox.put

    def fail(box: Mailbox, message: Message) -> Message | None:
        if message.content["number"] == 1:
            raise ValueError("a bug")
        return put(box, message)

    monkeypatch.setattr(Mailbox, "put", fail)
    for number in range(3):
        await offices.offices["a"].send(note(number, "quick"))
    assert numbers(await read(offices, 2, agent="quick")) == [0, 2]
    await rest()
    assert offices.offices["a"].dead_letters.counts() == {DeadLetterReason.REFUSED: 1}
    await offices.close()


@in_virtual_time
async def test_who_waited_for_room_comes_before_who_asks_in_the_same_moment() -> None:
    offices = Offices("a")
    office = offices.offices["a"]
    box = offices.open("a", "reader", capacity=2, overflow=Overflow.WAIT)
    for number in range(2):
        await office.send(note(number, "reader"))
    waiting = [asyncio.create_task(office.send(note(number, "reader"))) for number in (2, 3)]
    await rest(3)
    assert box.take() is not None
    assert box.take() is not None  # both have a place now, and have not put their messages yet
    assert box.makes_wait
    later = asyncio.create_task(office.send(note(4, "reader")))
    assert numbers([await office.receive("reader", 1.0) for _ in range(3)]) == [2, 3, 4]
    await asyncio.gather(*waiting, later)
    await offices.close()


@in_virtual_time
async def test_a_place_that_is_given_up_goes_to_the_next_in_order() -> None:
    offices = Offices("a")
    office = offices.offices["a"]
    box = offices.open("a", "reader", capacity=2, overflow=Overflow.WAIT)
    for number in range(2):
        await office.send(note(number, "reader"))
    given_up, second = [asyncio.create_task(office.send(note(number, "reader"))) for number in (2, 3)]
    await rest(3)
    given_up.cancel()
    box.clear()
    await office.send(note(4, "reader"))
    await second
    assert numbers([await office.receive("reader", 1.0) for _ in range(2)]) == [3, 4]
    await offices.close()


async def bring(offices: Offices, *numbers: int, is_patient: bool = False) -> list[bool]:
    """Bring notes to the slow agent as host a does; return which of those that were refused are to come later."""
    batch = codec.join([codec.encode(note(number, "slow", id=f"m{number}")) for number in numbers])
    outgoing = Outgoing(boot="x", batch=batch, is_patient=is_patient)
    return [each.is_later for each in (await offices.offices["b"].accept("a", outgoing, offices)).refused]


@in_virtual_time
async def test_mail_does_not_overtake_what_had_to_go_back_although_there_is_room_again() -> None:
    offices = slow_and_quick(capacity=1)
    assert await bring(offices, 0, 1) == [True]
    await read(offices, 1)
    assert await bring(offices, 2) == [True]
    assert await bring(offices, 1, is_patient=True) == []
    await read(offices, 1)
    assert await bring(offices, 3) == []
    await offices.close()


@in_virtual_time
async def test_a_patient_batch_that_does_not_get_in_as_a_whole_keeps_the_way_shut() -> None:
    offices = slow_and_quick(capacity=1)
    await bring(offices, 0, 1)
    begun_s = asyncio.get_running_loop().time()
    assert await bring(offices, 1, 2, is_patient=True) == [True, True]
    assert 0.9 < asyncio.get_running_loop().time() - begun_s < 1.1
    await read(offices, 1)
    assert await bring(offices, 3) == [True]
    await offices.close()
