"""The bus of one process: what it promises."""

import asyncio
import itertools

import pytest

from tests.unit.bus.one_office import mail, office_of, read
from tests.unit.bus.virtual_time import in_virtual_time, settle
from zejzl_ray.bus import local_mail, post_office
from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.bus.handling import Handling, current
from zejzl_ray.bus.mailbox import Overflow
from zejzl_ray.bus.message import HIGH, LOW
from zejzl_ray.errors import (
    InvalidInput,
    MailboxFull,
    RequestTimedOut,
    RevisionCompacted,
)

# --- sending and receiving --------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_message_arrives_as_the_object_that_it_is_with_an_id() -> None:
    office = office_of("b")
    message = mail()
    message_id = await office.send(message)
    assert await office.receive("b") is message
    assert message.id == message_id != await office.send(mail())


@in_virtual_time
async def test_an_id_that_the_sender_gave_stays() -> None:
    office = office_of("b")
    assert await office.send(mail(id="mine")) == "mine"


@in_virtual_time
async def test_ten_thousand_messages_of_one_priority_come_in_the_order_of_sending() -> None:
    office = office_of("b")
    for number in range(10_000):
        await office.send(mail(number, timestamp=-float(number)))  # the sender's own time counts for nothing
    assert await read(office) == list(range(10_000))


@in_virtual_time
async def test_receive_with_no_time_takes_what_is_there_and_waits_for_nothing() -> None:
    office = office_of("b")
    await office.send(mail(1))
    assert (await office.receive("b", 0)).content == {"number": 1}
    with pytest.raises(RequestTimedOut):
        await office.receive("b", 0)
    assert asyncio.get_running_loop().time() == 0


@in_virtual_time
async def test_a_wait_without_a_limit_of_its_own_has_that_of_the_bus() -> None:
    office = office_of("b", default_timeout_s=7.0)
    with pytest.raises(RequestTimedOut, match="within 7 s"):
        await office.receive("b")
    assert asyncio.get_running_loop().time() == pytest.approx(7.0)


@in_virtual_time
async def test_mail_whose_deadline_is_over_is_a_dead_letter_and_does_not_make_the_wait_longer() -> None:
    office = office_of("b")

    async def send_expired() -> None:
        for number in itertools.count():
            await office.send(mail(number, deadline_at_s=office.clock.now_s() - 1))
            await asyncio.sleep(1.0)

    sending = asyncio.create_task(send_expired())
    with pytest.raises(RequestTimedOut):
        await office.receive("b", 4.5)
    assert asyncio.get_running_loop().time() == pytest.approx(4.5)
    assert office.dead_letters.counts() == {DeadLetterReason.EXPIRED: 5}
    assert office.dead_letters.letters()[0].detail == "nobody read it in time"
    sending.cancel()


@in_virtual_time
async def test_a_sender_that_waits_for_room_has_the_time_that_its_message_has() -> None:
    office = office_of(default_timeout_s=9.0)
    office.open_mailbox("b", capacity=1, overflow=Overflow.WAIT)
    await office.send(mail())
    loop = asyncio.get_running_loop()
    with pytest.raises(MailboxFull):
        await office.send(mail(deadline_at_s=office.clock.now_s() + 2.0))
    assert loop.time() == pytest.approx(2.0)
    with pytest.raises(MailboxFull):
        await office.send(mail(deadline_at_s=office.clock.now_s() - 2.0))
    assert loop.time() == pytest.approx(2.0)
    with pytest.raises(MailboxFull):
        await office.send(mail())
    assert loop.time() == pytest.approx(11.0)
    assert office.sent == 1


@in_virtual_time
async def test_long_floods_let_others_have_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_mail, "YIELD_EVERY", 3)
    monkeypatch.setattr(post_office, "YIELD_EVERY", 3)
    office = office_of("b")
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    for _ in range(16):
        await office.send(mail())
    sending, turns = turns, 0
    for _ in range(16):
        await office.receive("b")
    assert (sending, turns) == (4, 4)
    task.cancel()


@in_virtual_time
async def test_a_receiver_that_is_cancelled_while_it_lets_others_go_first_loses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(local_mail, "YIELD_EVERY", 0)
    office = office_of("b")
    for number in range(3):
        await office.send(mail(number))
    receivers = [asyncio.create_task(office.receive("b")) for _ in range(2)]
    await asyncio.sleep(0)
    for receiver in receivers:
        receiver.cancel()
    await settle()
    monkeypatch.setattr(local_mail, "YIELD_EVERY", 63)
    assert await read(office) == [0, 1, 2]


@in_virtual_time
async def test_what_is_sent_while_something_is_handled_says_so_unless_it_says_something_else() -> None:
    office = office_of("b")
    cause = mail(id="cause", traceparent="00-aa-bb-01")
    token = current.set(Handling("x", 0, cause))
    await office.send(mail())
    await office.send(mail(caused_by="else", traceparent="00-cc-dd-01"))
    current.reset(token)
    first, second = await office.receive("b"), await office.receive("b")
    assert (first.caused_by, first.traceparent) == ("cause", "00-aa-bb-01")
    assert (second.caused_by, second.traceparent) == ("else", "00-cc-dd-01")


# --- to many ----------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_broadcast_reaches_all_but_the_sender_and_those_left_out_with_its_priority() -> None:
    office = office_of("a", "b", "c", "d")
    message = mail(1, to="all", priority=HIGH)
    assert await office.broadcast(message, ("c",)) == ["b", "d"]
    copies = [await office.receive(agent, 0) for agent in ("b", "d")]
    assert [copy.priority for copy in copies] == [HIGH, HIGH]
    assert copies[0].id != copies[1].id
    copies[0].content["number"] = 2
    assert copies[1].content == message.content == {"number": 1}
    assert len(office.mailbox("a")) == len(office.mailbox("c")) == 0
    assert office.sent == 2


@in_virtual_time
async def test_a_full_mailbox_keeps_nobody_else_waiting_for_a_broadcast() -> None:
    office = office_of("a")
    office.open_mailbox("full", capacity=1, overflow=Overflow.WAIT)
    office.open_mailbox("strict", capacity=1)
    office.open_mailbox("last")
    await office.send(mail(to="full"))
    await office.send(mail(to="strict"))
    assert await office.broadcast(mail()) == ["last"]
    assert asyncio.get_running_loop().time() == 0
    assert office.dead_letters.counts() == {DeadLetterReason.MAILBOX_FULL: 2}


@in_virtual_time
async def test_a_broadcast_of_a_wrong_message_is_refused_before_anybody_gets_it() -> None:
    office = office_of("a", "b")
    message = mail()
    message.content = "text"  # type: ignore[assignment] # wrong on purpose
    with pytest.raises(InvalidInput, match="content of a message is str"):
        await office.broadcast(message)
    assert len(office.mailbox("b")) == 0


@in_virtual_time
async def test_an_agent_that_leaves_while_a_broadcast_goes_out_misses_it_and_nobody_else_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(post_office, "YIELD_EVERY", 0)
    office = office_of("a", "b", "c", "d")
    broadcast = asyncio.create_task(office.broadcast(mail()))
    await asyncio.sleep(0)
    office.close_mailbox("c")
    office.open_mailbox("e")
    assert await broadcast == ["b", "d"]
    assert office.dead_letters.counts() == {DeadLetterReason.UNKNOWN_AGENT: 1}


@in_virtual_time
async def test_a_topic_reaches_those_who_subscribed_but_not_who_publishes() -> None:
    office = office_of("a", "b", "c")
    office.subscribe("a", "news.*")
    office.subscribe("b", "news.*")
    office.subscribe("b", "news.*")
    office.subscribe("c", "news.>")
    office.subscribe("c", "other")
    assert await office.publish("news.today", mail(3, to="all")) == 2
    assert (await office.receive("b", 0)).topic == "news.today"
    assert office.subscriptions("c") == ("news.>", "other")
    office.unsubscribe("c", "news.>")
    assert await office.publish("news.today", mail(4, to="all")) == 1
    assert await read(office, "c") == [3]
    with pytest.raises(InvalidInput):
        await office.publish("news.*", mail())


# --- looking ----------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_what_was_sent_can_be_looked_at_and_replayed() -> None:
    office = office_of("b", history_size=3)
    ids = [await office.send(mail(number)) for number in range(5)]
    assert [entry["to"] for entry in office.history(2)] == ["b", "b"]
    assert len(office.history()) == 3
    assert [message.content["number"] for message in office.replay(after_id=ids[2])] == [3, 4]
    with pytest.raises(RevisionCompacted):
        office.replay(after_id=ids[0])


@in_virtual_time
async def test_what_was_sent_lately_is_counted_to_a_second() -> None:
    office = office_of("b")
    for _ in range(10):
        await office.send(mail())
        await asyncio.sleep(1.0)
    assert office.sent_within(60) == 10
    assert office.sent_within(3.5) in (3, 4)
    await asyncio.sleep(120)
    assert office.sent_within(60) == 0


@in_virtual_time
async def test_everything_is_counted_once() -> None:
    office = office_of("a", "b")
    await office.send(mail(1, priority=LOW))
    await office.send(mail(2))
    await office.receive("b")
    request = asyncio.create_task(office.request(mail(3)))
    await settle()
    await office.receive("b")
    taken = await office.receive("b")
    assert taken.content == {"number": 1}
    office.close_mailbox("b")
    request.cancel()
    await settle()
    totals = office.figures.totals()
    assert (totals.sent, totals.received, totals.dead) == (3, 3, 0)
    assert office.figures.of("a", "task").sent == [0, 2, 1]
    assert office.links() == ()
    assert office.boot
    assert office.host == ""
