"""Mail that is sent at least once: deadlines, refusals, and stores that are closed."""

import asyncio

import pytest

from tests.unit.bus.durable_offices import World, delivered, mail, pair
from zejzl_ray.bus.course import RedeliveryOptions
from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.bus.mailbox import Overflow
from zejzl_ray.bus.message import Message, MessagePriority
from zejzl_ray.bus.ports import News

pytestmark = pytest.mark.usefixtures("no_patience")


async def test_mail_whose_deadline_passes_before_anybody_takes_it_is_a_dead_letter() -> None:
    world, a, _b = await pair()
    world.cut.add("b")
    await a.office.send(mail(1, deadline_at_s=world.clock.now_s() + 5))
    await delivered(world, 8)
    await a.flush()
    assert a.totals() == {"expired": 1}
    assert a.office.dead_letters.counts() == {DeadLetterReason.EXPIRED: 1}


async def test_mail_that_expires_in_a_mailbox_is_told_to_its_sender() -> None:
    world, a, b = await pair()
    await a.office.send(mail(1, deadline_at_s=world.clock.now_s() + 10))
    await delivered(world)
    await world.go_on(10)
    assert await b.take_all() == []
    await world.rest()
    await a.flush()
    assert a.totals() == {"expired": 1}
    assert a.office.dead_letters.letters()[0].detail == "nobody read it in time"


async def test_mail_that_arrives_after_its_deadline_is_refused_and_one_that_is_held_is_not() -> None:
    world, a, b = await pair()
    await a.office.send(mail(1, deadline_at_s=world.clock.now_s() + 10))
    await delivered(world)
    message = await b.take()
    await world.go_on(30)  # it is handled all the time; the sender asks
    await world.go_on(30)
    assert a.unsettled == 1
    await b.ack(message)
    await world.rest()
    assert a.unsettled == 0
    late = mail(2, id="late", sequence=99, deadline_at_s=1.0, expires_s=0.0)
    assert a.mail.outbox is not None
    refused = b.mail.arrived("a", a.mail.outbox.origin, late)
    assert refused is not None
    assert refused.reason is DeadLetterReason.EXPIRED


async def test_a_sender_without_the_scope_gets_a_dead_letter_that_says_refused() -> None:
    world, a, b = await pair()
    world.why_not["writer"] = "writer lacks the scope mail:agents:write"
    await a.office.send(mail(1))
    await delivered(world)
    assert await b.take_all() == []
    await a.flush()
    assert a.totals() == {"refused": 1}
    assert "lacks the scope" in a.office.dead_letters.letters()[0].detail


async def test_mail_of_a_process_that_is_not_let_in_for_a_while_waits() -> None:
    world, a, b = await pair()
    world.faults["a", "b"] = "not let in"
    await a.office.send(mail(1))
    await a.office.send(Message("writer", "reader", "plain", {}))
    await delivered(world)
    assert [message.message_type for message in await b.take_all()] == ["task"]
    assert a.office.dead_letters.counts() == {DeadLetterReason.REFUSED: 1}


async def test_a_message_too_far_ahead_of_what_is_open_waits() -> None:
    world, a, b = await pair()
    await a.office.send(mail(1))
    await delivered(world)
    assert a.mail.outbox is not None
    refused = b.mail.arrived("a", a.mail.outbox.origin, mail(2, id="far", sequence=2_000_000))
    assert refused is not None
    assert refused.reason is DeadLetterReason.MAILBOX_FULL


async def test_mail_that_is_settled_while_other_mail_is_put_is_left_out() -> None:
    world = World()
    a = await world.start("a", "writer")
    a.open_mailbox("reader", capacity=1, overflow=Overflow.DROP_OLDEST_LOW)
    await a.inboxes.load("reader")
    outbox = a.mail.outbox
    assert outbox is not None
    await a.office.send(mail(1, priority=MessagePriority.LOW))
    await world.rest()
    await a.office.send(mail(2))
    a.mail._sender._put(outbox, "reader", [2, 1])  # as if the first were asked about just now
    assert outbox.pending() == [2]


async def test_closing_before_and_after_everything_is_safe() -> None:
    world = World()
    world.is_store_there = False
    a = await world.start("a", "writer", "reader")
    await a.mail.close()
    world.is_store_there = True
    await a.mail.open()
    await a.mail.open()
    await a.office.send(mail(1, deadline_at_s=world.clock.now_s() + 10))
    await delivered(world)
    await a.mail.close()
    await world.go_on(10)
    assert await a.take_all() == []  # it has expired; there is no inbox to note it in
    await a.mail.close()
    await a.office.close()


async def test_an_outbox_that_cannot_be_opened_is_tried_again_and_logged_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("zejzl_ray.bus.durable_sender._RETRY_S", 0)
    world = World()
    world.is_store_there = False
    a = await world.start("a")
    opening = asyncio.create_task(a.mail.open())
    await world.rest()
    assert a.mail.fault == "no store"
    world.is_store_there = True
    await opening
    assert a.mail.fault == ""
    assert "".join(capsys.readouterr()).count("cannot be opened") == 1
    await a.mail.close()


async def test_closing_the_mailbox_of_one_agent_leaves_the_others_alone() -> None:
    world, a, b = await pair()
    b.open_mailbox("other")
    for to in ("reader", "other"):
        await a.office.send(mail(1, to=to))
    await delivered(world)
    b.office.close_mailbox("reader")
    message = await b.take("other")
    await b.ack(message)
    await delivered(world)
    assert a.unsettled == 1


async def test_a_process_that_keeps_no_mail_refuses_it() -> None:
    world, a, b = await pair()
    b.office.local.durable = None
    await a.office.send(mail(1))
    await delivered(world)
    await a.flush()
    assert a.totals() == {"refused": 1}


async def test_a_receiver_that_is_nowhere_for_too_long_makes_its_mail_dead_letters() -> None:
    world, a, b = await pair(redelivery=RedeliveryOptions(give_up_after_s=60))
    b.office.close_mailbox("reader")
    await a.office.send(mail(1))
    await delivered(world)
    await world.go_on(60)
    await a.flush()
    assert a.totals() == {"unreachable": 1}


async def test_a_message_that_ends_every_process_is_given_up() -> None:
    world, a, _b = await pair(redelivery=RedeliveryOptions(first_delay_s=1, max_deliveries=2))
    await a.office.send(mail(1))
    for _ in range(2):
        await delivered(world)
        world.kill("b")
        await world.start("b", "reader")
    await delivered(world)
    await a.flush()
    assert a.totals() == {"not_acknowledged": 1}


async def test_another_process_may_settle_only_what_it_has() -> None:
    world, a, _b = await pair()
    await a.office.send(mail(1))
    await delivered(world)
    assert a.mail.outbox is not None
    origin = a.mail.outbox.origin
    rejected = ((1, DeadLetterReason.REFUSED, "no"),)
    a.mail.hear("c", News(settled={origin: (1,)}, rejected={origin: rejected}, welcome={origin: (1,)}))
    assert a.unsettled == 1


async def test_another_process_may_not_speak_for_an_outbox_that_is_not_its_own() -> None:
    _world, a, b = await pair()
    assert a.mail.outbox is not None
    b.mail.hear("c", News(origin=a.mail.outbox.origin, oldest={"reader": 1000}))
    refused = b.mail.arrived("c", a.mail.outbox.origin, mail(1, id="x", sequence=1))
    assert refused is not None
    assert refused.reason is DeadLetterReason.REFUSED
