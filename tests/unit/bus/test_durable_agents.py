"""Mail that is sent at least once: full mailboxes, agents that are away or move, and order."""

import asyncio

import pytest

from tests.unit.bus.durable_offices import World, delivered, mail, numbers, pair
from zejzl_ray.bus.mailbox import Overflow
from zejzl_ray.bus.message import MessagePriority
from zejzl_ray.bus.ports import News
from zejzl_ray.errors import (
    StaleEpoch,
)

pytestmark = pytest.mark.usefixtures("no_patience")


async def test_mail_that_a_full_mailbox_did_not_take_comes_again_in_its_order() -> None:
    world, a, b = await pair()
    b.office.close_mailbox("reader")
    b.open_mailbox("reader", capacity=2)
    for number in range(6):
        await a.office.send(mail(number))
    await delivered(world)
    got = []
    for _ in range(12):
        for message in await b.take_all():
            got.append(message.content["number"])
            await b.ack(message)
        await world.go_on()
    assert got == [0, 1, 2, 3, 4, 5]
    assert a.unsettled == 0
    assert not a.office.dead_letters.counts()


async def test_mail_for_an_agent_that_is_away_waits_and_is_not_sent_meanwhile() -> None:
    world, a, b = await pair()
    b.office.close_mailbox("reader")
    for number in range(100):
        await a.office.send(mail(number))
    await delivered(world)
    link = a.office.link("b")
    before = link.messages
    for _ in range(40):
        await world.go_on()
    assert link.messages - before <= 12  # one is tried now and then, not a hundred
    b.open_mailbox("reader")
    await delivered(world, 12)
    assert numbers(await b.take_all()) == list(range(100))


async def test_mail_for_an_agent_that_nobody_knows_for_a_while_waits() -> None:
    world, a, b = await pair()
    await a.office.send(mail(1))
    world.hosts.pop("reader")
    b.office.close_mailbox("reader")
    await delivered(world, 20)
    b.open_mailbox("reader")
    await delivered(world)
    assert numbers(await b.take_all()) == [1]


async def test_mail_follows_an_agent_to_another_process() -> None:
    world, a, b = await pair()
    c = await world.start("c")
    for number in range(4):
        await a.office.send(mail(number))
    await delivered(world)
    first, _second = await b.take(), await b.take()
    await b.ack(first)
    await world.rest()
    b.office.close_mailbox("reader")  # one was handed out, two still waited
    await world.rest()
    c.open_mailbox("reader")
    await delivered(world)
    messages = await c.take_all()
    assert numbers(messages) == [1, 2, 3]
    for message in messages:
        await c.ack(message)
    await world.rest()
    assert a.unsettled == 0


async def test_mail_of_its_own_process_follows_an_agent_too() -> None:
    world = World()
    a = await world.start("a", "writer", "reader")
    b = await world.start("b")
    await a.office.send(mail(1))
    await delivered(world)
    await a.take()
    a.office.close_mailbox("reader")
    b.open_mailbox("reader")
    await delivered(world)
    assert numbers(await b.take_all()) == [1]


async def test_a_process_never_opens_the_inbox_of_an_agent_that_is_elsewhere() -> None:
    world, a, b = await pair()
    c = await world.start("c")
    await a.office.send(mail(1))
    await delivered(world)
    message = await b.take()
    opened = world.opened["agent.reader"]
    world.hosts["reader"] = "c"  # a wrong directory
    await a.office.send(mail(2))
    await delivered(world)
    assert world.opened["agent.reader"] == opened
    assert c.inboxes.peek("reader") is None
    await b.ack(message)  # would be refused if another process had opened it


async def test_an_agent_that_another_process_has_taken_over_is_refused() -> None:
    world, a, b = await pair()
    c = await world.start("c")
    await a.office.send(mail(1))
    await delivered(world)
    message = await b.take()
    c.open_mailbox("reader")
    await c.inboxes.load("reader")
    await b.ack(message)  # finds out while it is written down
    await world.rest()
    with pytest.raises(StaleEpoch):
        await b.ack(message, b"state")
    world.hosts["reader"] = "b"
    await a.office.send(mail(2))
    await delivered(world)
    assert await b.take_all() == []
    world.hosts["reader"] = "c"
    await delivered(world, 40)
    assert sorted(numbers(await c.take_all())) == [1, 2]


async def test_what_is_behind_a_message_that_was_not_taken_does_not_overtake_it() -> None:
    world, a, b = await pair()
    await a.office.send(mail(0))
    await delivered(world)
    b.office.close_mailbox("reader")
    b.open_mailbox("reader", capacity=1)
    await delivered(world)
    assert a.mail.outbox is not None
    oldest = {"reader": a.mail.outbox.oldest_unsettled("reader")}
    b.mail.hear("a", News(origin=a.mail.outbox.origin, oldest=oldest))
    one, two = mail(1, id="one", sequence=11), mail(2, id="two", sequence=12)
    assert b.mail.arrived("a", a.mail.outbox.origin, one) is not None  # full
    await b.take()
    refused = b.mail.arrived("a", a.mail.outbox.origin, two)
    assert refused is not None
    assert "older mail" in refused.detail
    assert b.mail.arrived("a", a.mail.outbox.origin, one) is None
    await b.take()
    assert b.mail.arrived("a", a.mail.outbox.origin, two) is None


async def test_the_first_deliveries_of_many_senders_keep_the_order_of_each() -> None:
    world, a, b = await pair()
    a.open_mailbox("other")

    async def write(sender: str) -> None:
        for number in range(50):
            await a.office.send(mail(number, sender=sender))

    await asyncio.gather(write("writer"), write("other"))
    await delivered(world)
    messages = await b.take_all()
    for sender in ("writer", "other"):
        assert numbers([each for each in messages if each.from_agent == sender]) == list(range(50))


async def test_a_flood_is_sent_in_parts_and_stays_in_order() -> None:
    world, a, b = await pair()
    await a.office.send(mail(0))
    await delivered(world)
    await asyncio.gather(*(a.office.send(mail(number)) for number in range(1, 1300)))
    await world.rest(400)
    assert numbers(await b.take_all()) == list(range(1300))


async def test_mail_that_expires_on_its_way_within_the_process_is_a_dead_letter() -> None:
    world = World()
    a = await world.start("a", "writer", "reader")
    await a.inboxes.load("reader")
    a.mail._sender._is_planned = True  # it is not sent yet
    await a.office.send(mail(1, deadline_at_s=world.clock.now_s() + 1))
    world.clock.advance(1)
    assert a.mail.outbox is not None
    a.mail._sender._put(a.mail.outbox, "reader", [1])
    await a.flush()
    assert a.totals() == {"expired": 1}


async def test_low_mail_that_made_room_is_a_dead_letter_with_that_reason() -> None:
    world, a, b = await pair()
    b.office.close_mailbox("reader")
    b.open_mailbox("reader", capacity=1, overflow=Overflow.DROP_OLDEST_LOW)
    await a.office.send(mail(1, priority=MessagePriority.LOW))
    await delivered(world)
    await a.office.send(mail(2))
    await delivered(world)
    assert numbers(await b.take_all()) == [2]
    await a.flush()
    assert a.totals() == {"dropped_low": 1}
