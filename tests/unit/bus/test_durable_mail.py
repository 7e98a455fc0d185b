"""Mail that is sent at least once: between processes and within one."""

import asyncio
from pathlib import Path

import pytest

from tests.unit.bus.durable_offices import Wire, World, delivered, mail, numbers, pair
from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.bus.durable_mail import DurableMail
from zejzl_ray.bus.message import Guarantee, Message
from zejzl_ray.bus.ports import News
from zejzl_ray.bus.post_office import PostOffice
from zejzl_ray.clock import SystemClock
from zejzl_ray.errors import (
    BusClosed,
    BusError,
    NotSerialisable,
    RequestTimedOut,
    SettingsInvalid,
    StoreUnavailable,
    UnknownAgent,
)
from zejzl_ray.store import MemoryState, MemoryStore, Store, open_store
from zejzl_ray.testing import ManualClock

pytestmark = pytest.mark.usefixtures("no_patience")


# --- all is well ------------------------------------------------------------------------------------------------------


async def test_mail_goes_to_another_process_once_and_is_settled_by_its_acknowledgement() -> None:
    world, a, b = await pair()
    for number in range(3):
        await a.office.send(mail(number))
    await delivered(world)
    messages = await b.take_all()
    assert numbers(messages) == [0, 1, 2]
    assert a.unsettled == 3
    for message in messages:
        await b.ack(message)
    await world.rest()
    assert a.unsettled == 0
    await a.flush()
    assert a.totals() == {"acknowledged": 3}
    assert b.mail.held == 0
    assert await b.take_all() == []


async def test_mail_within_one_process_goes_the_same_way() -> None:
    world = World()
    a = await world.start("a", "writer", "reader")
    await a.office.send(mail(1))
    await delivered(world)
    message = await a.take()
    assert message.content == {"number": 1}
    await a.ack(message)
    await world.rest()
    assert a.unsettled == 0


async def test_send_returns_when_the_message_is_stored_and_not_before() -> None:
    world, a, b = await pair()
    a.gate = asyncio.Event()
    sending = asyncio.create_task(a.office.send(mail(1)))
    await world.rest()
    assert not sending.done()
    a.gate.set()
    await sending
    world.kill("a")
    a = await world.start("a", "writer")
    await delivered(world)
    assert numbers(await b.take_all()) == [1]


async def test_what_the_sender_does_with_its_message_afterwards_changes_nothing() -> None:
    world = World()
    a = await world.start("a", "writer", "reader")
    await a.inboxes.load("reader")
    message = mail(1)
    await a.office.send(message)
    await a.office.send(message)  # the same object once more: that is a second message
    message.to_agent = "nobody"
    await delivered(world)
    first, second = await a.take_all()
    assert first is not second
    await a.ack(first)
    await world.rest()
    assert a.unsettled == 1


async def test_the_time_under_way_counts_from_sending() -> None:
    world, a, b = await pair()
    await a.office.send(mail(1))
    world.clock.advance(5)
    await delivered(world)
    message = await b.take()
    assert world.clock.monotonic_s() - message.sent_at_s >= 5


async def test_a_reply_is_no_kept_mail_since_its_requester_waits_in_memory() -> None:
    world, a, b = await pair()
    request = mail(1)
    asking = asyncio.create_task(a.office.request(request, timeout_s=30))
    await delivered(world)
    asked = await b.take()
    await b.office.send(
        Message("reader", "writer", "answer", {}, correlation_id=asked.correlation_id, is_reply=True,
                guarantee=Guarantee.AT_LEAST_ONCE)
    )  # fmt: skip
    await b.ack(asked)
    assert (await asyncio.wait_for(asking, 5)).message_type == "answer"
    assert b.unsettled == 0


# --- sending ----------------------------------------------------------------------------------------------------------


async def test_what_cannot_be_kept_is_an_error_at_the_sender() -> None:
    world, a, _b = await pair()
    with pytest.raises(NotSerialisable):
        await a.office.send(mail(1, metadata={"x": object()}))
    with pytest.raises(UnknownAgent):
        await a.office.send(mail(1, to="nobody"))
    a.lose = "before"
    with pytest.raises(StoreUnavailable):
        await a.office.send(mail(1))
    a.lose = ""
    await delivered(world)
    assert a.unsettled == 0
    office = PostOffice()
    office.open_mailbox("reader")
    with pytest.raises(BusError, match="keeps no mail"):
        await office.send(mail(1))


async def test_a_way_that_is_full_keeps_the_mail_in_the_outbox() -> None:
    world = World(link_capacity=4)
    a = await world.start("a", "writer")
    b = await world.start("b", "reader")
    a.office.away.transport = None  # nothing leaves
    with pytest.raises(UnknownAgent):
        a.office.carry("reader", [(mail(1, id="x"), b"")])
    a.office.connect(Wire(a))
    for number in range(20):
        await a.office.send(mail(number))
    await delivered(world, 30)
    assert numbers(await b.take_all()) == list(range(20))


async def test_a_full_link_carries_what_it_has_room_for_and_a_closed_bus_nothing() -> None:
    world = World(link_capacity=1)
    a = await world.start("a", "writer")
    await world.start("b", "reader")
    assert a.office.carry("reader", [(mail(1, id="x"), b"x"), (mail(2, id="y"), b"y")]) == ("b", 1)
    await a.office.close()
    with pytest.raises(BusClosed):
        a.office.carry("reader", [(mail(1, id="x"), b"x")])


async def test_mail_waits_for_its_store_and_says_why_it_cannot_be_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("zejzl_ray.bus.durable_sender._READY_S", 0.01)
    monkeypatch.setattr("zejzl_ray.bus.durable_sender._RETRY_S", 0.01)
    world = World()
    world.is_store_there = False
    a = await world.start("a", "writer", "reader")
    assert a.mail.outbox is None
    a.mail.tick()
    a.mail.hear("b", News(rejected={"": ((1, DeadLetterReason.REFUSED, ""),)}))
    assert a.mail.news_for("b", [mail(1, sequence=1)]) is None
    opening = asyncio.create_task(a.mail.open())
    with pytest.raises(StoreUnavailable, match="no store"):
        await a.office.send(mail(1))
    monkeypatch.setattr("zejzl_ray.bus.durable_sender._READY_S", 10)
    sending = asyncio.create_task(a.office.send(mail(2)))
    world.is_store_there = True
    await opening
    await sending
    assert a.mail.fault == ""
    await delivered(world)
    assert numbers(await a.take_all()) == [2]
    await a.mail.close()


def test_a_host_whose_name_cannot_name_a_store_is_refused() -> None:
    async def no_store(namespace: str) -> Store:
        raise AssertionError

    with pytest.raises(SettingsInvalid):
        DurableMail("a b", no_store)


# --- life -------------------------------------------------------------------------------------------------------------


async def test_it_runs_by_itself_and_keeps_mail_over_a_restart(tmp_path: Path) -> None:
    async def open_one(namespace: str) -> Store:
        return await open_store(f"sqlite://{tmp_path}", namespace, clock=SystemClock(), owner="desk")

    for wanted in (1, 2):
        office = PostOffice()
        mail_of_desk = DurableMail("desk", open_one)
        office.keep(mail_of_desk)
        async with mail_of_desk:
            office.open_mailbox("reader")
            if wanted == 1:
                await office.send(mail(1))
                await office.send(mail(2))
            message = await office.receive("reader", 10)
            assert message.content == {"number": wanted}
            await office.ack(message)
        await mail_of_desk.close()
        await office.close()


async def test_a_failure_in_a_round_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zejzl_ray.bus.durable_mail._TICK_S", 0.001)
    states: dict[str, MemoryState] = {}

    async def open_one(namespace: str) -> Store:
        return MemoryStore(clock=ManualClock(), state=states.setdefault(namespace, MemoryState()))

    office = PostOffice()
    kept = DurableMail("desk", open_one)
    office.keep(kept)
    rounds = 0

    def fail() -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 1:
            raise RuntimeError("once")

    monkeypatch.setattr(kept, "tick", fail)
    told = asyncio.Event()
    monkeypatch.setattr(kept, "retry_news", told.set)
    async with asyncio.timeout(5), kept:
        await told.wait()
    assert rounds > 1


async def test_what_stays_in_a_mailbox_when_the_process_stops_is_delivered_after_its_start() -> None:
    world, a, b = await pair()
    await a.office.send(mail(1))
    await a.office.send(mail(2))
    await delivered(world)
    await b.ack(await b.take())
    await b.mail.close()
    await b.office.close()
    world.kill("b")
    b = await world.start("b", "reader")
    await delivered(world)
    assert numbers(await b.take_all()) == [2]
    with pytest.raises(RequestTimedOut):
        await b.take()
