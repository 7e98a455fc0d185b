"""Mail that is sent at least once: what a receiver acknowledges, forgets and keeps."""

import pytest

from tests.unit.bus.durable_offices import ACKS, delivered, mail, numbers, pair
from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.bus.handling import Handling
from zejzl_ray.bus.ports import News, Refused
from zejzl_ray.errors import (
    InvalidInput,
)

pytestmark = pytest.mark.usefixtures("no_patience")


async def test_what_is_given_back_comes_again_a_limited_number_of_times() -> None:
    world, a, b = await pair()
    await a.office.send(mail(1))
    await delivered(world)
    for _ in range(ACKS.max_deliveries):
        await b.office.nack(await b.take(), "not today")
        await delivered(world)
    assert await b.take_all() == []
    await a.flush()
    assert a.totals() == {"not_acknowledged": 1}
    assert a.office.dead_letters.letters()[0].detail == "not today"


async def test_a_sender_that_missed_the_rejection_is_told_the_true_reason_again() -> None:
    world, a, b = await pair()
    await a.office.send(mail(1, deadline_at_s=world.clock.now_s() + 10))
    await delivered(world)
    world.kill("a")
    await world.go_on(10)
    assert await b.take_all() == []
    a = await world.start("a", "writer")
    assert a.mail.outbox is not None
    refused = b.mail.arrived("a", a.mail.outbox.origin, mail(1, id="x", sequence=1))
    assert refused is not None
    assert (refused.reason, refused.detail) == (
        DeadLetterReason.EXPIRED,
        "nobody read it in time",
    )


async def test_a_handler_that_forgot_gets_it_again_and_one_that_works_does_not() -> None:
    world, a, b = await pair()
    await a.office.send(mail(1))
    await a.office.send(mail(2))
    await delivered(world)
    first, _ = await b.take_all()
    b.office.handlings.open("reader", 1)
    b.office.handlings.begin(Handling("reader", 0, first))
    for _ in range(7):
        await world.go_on(10)
    again = await b.take_all()
    assert numbers(again) == [2]
    await b.ack(again[0])
    await b.ack(first)
    await world.rest()
    assert a.unsettled == 0


async def test_what_waits_in_the_mailbox_again_is_not_put_there_twice() -> None:
    world, a, b = await pair()
    await a.office.send(mail(1))
    await delivered(world)
    await b.take()
    for _ in range(30):
        await world.go_on(10)
    assert numbers(await b.take_all()) == [1]


async def test_a_message_that_finds_no_room_when_it_comes_again_comes_later() -> None:
    world, a, b = await pair()
    b.office.close_mailbox("reader")
    b.open_mailbox("reader", capacity=1)
    await a.office.send(mail(1))
    await delivered(world)
    message = await b.take()
    await a.office.send(mail(2))
    await delivered(world)
    await b.office.nack(message, "later")
    await delivered(world)
    assert numbers(await b.take_all()) == [2]
    await delivered(world, 12)
    assert numbers(await b.take_all()) == [1]


async def test_state_and_acknowledgement_are_kept_together() -> None:
    world, a, b = await pair()
    await a.office.send(mail(1))
    await delivered(world)
    b.lose = "before"
    await b.ack(await b.take(), b"handled 1")
    await world.rest()
    world.kill("b")
    b = await world.start("b", "reader")
    assert await b.inboxes.load("reader") is None
    await delivered(world)
    await b.ack(await b.take(), b"handled 1")
    assert await b.inboxes.load("reader") == b"handled 1"  # waits for what is under way
    world.kill("b")
    b = await world.start("b", "reader")
    assert await b.inboxes.load("reader") == b"handled 1"
    await delivered(world)
    assert await b.take_all() == []
    assert a.unsettled == 0


async def test_state_of_what_needs_no_acknowledgement_any_more_is_kept_nevertheless() -> None:
    world, a, b = await pair()
    await a.office.send(mail(1))
    await delivered(world)
    message = await b.take()
    await b.ack(message)
    await b.ack(message)
    await b.ack(message, b"later")
    assert await b.inboxes.load("reader") == b"later"


async def test_a_state_that_is_too_large_acknowledges_nothing() -> None:
    world, a, b = await pair()
    await a.office.send(mail(1))
    await delivered(world)
    message = await b.take()
    with pytest.raises(InvalidInput):
        await b.ack(message, bytes(33_554_433))
    await b.ack(message)
    await world.rest()
    assert a.unsettled == 0


async def test_acknowledging_after_the_mailbox_was_closed_changes_nothing() -> None:
    world, a, b = await pair()
    await a.office.send(mail(1))
    await delivered(world)
    message = await b.take()
    b.office.close_mailbox("reader")
    await world.rest()
    await b.ack(message, b"state")
    await b.office.nack(message, "no")
    b.mail.handed_out(message)
    assert b.inboxes.peek("reader") is None
    assert a.unsettled == 1


async def test_what_was_handed_out_when_the_mailbox_was_closed_does_not_come_again_by_itself() -> None:
    world, a, b = await pair()
    await a.office.send(mail(1))
    await delivered(world)
    await b.take()
    b.office.close_mailbox("reader")
    await world.go_on(61)  # above the time to acknowledge it
    b.open_mailbox("reader")
    await delivered(world, 10)
    assert numbers(await b.take_all()) == [1]


async def test_what_is_acknowledged_just_before_the_process_stops_is_stored() -> None:
    world, a, b = await pair()
    await a.office.send(mail(1))
    await delivered(world)
    await b.ack(await b.take())
    await b.mail.close()
    assert b.inboxes.peek("reader") is None
    world.kill("b")
    b = await world.start("b", "reader")
    await delivered(world)
    assert await b.take_all() == []
    assert a.unsettled == 0


async def test_what_its_outbox_says_is_settled_is_not_taken_any_more() -> None:
    world, a, b = await pair()
    await a.office.send(mail(1))
    await delivered(world)
    await b.take()
    assert a.mail.outbox is not None
    origin = a.mail.outbox.origin
    b.mail.hear("a", News(origin=origin, oldest={"reader": 50}))
    assert b.mail.arrived("a", origin, mail(2, id="old", sequence=49)) is None
    assert b.mail.arrived("a", origin, mail(3, id="new", sequence=50)) is None
    assert numbers(await b.take_all()) == [3]


async def test_mail_of_another_outbox_with_the_same_number_settles_nothing_here() -> None:
    world, a, b = await pair()
    await a.office.send(mail(1))
    stranger = mail(7, id="stranger", sequence=1)
    a.office.lose(stranger, DeadLetterReason.EXPIRED, "")
    assert a.unsettled == 1
    a.mail.refused("b", stranger, Refused(stranger.id, DeadLetterReason.REFUSED))
    assert a.unsettled == 1
    await delivered(world)
    assert numbers(await b.take_all()) == [1]
