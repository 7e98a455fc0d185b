"""The old bus by its names: what was wrong with the old one."""

import asyncio
from typing import Any

import pytest

from tests.unit.bus.old_bus import bus_of
from tests.unit.bus.one_office import mail
from tests.unit.bus.virtual_time import in_virtual_time, settle
from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.bus.facade import MessageBus
from zejzl_ray.bus.message import LOW
from zejzl_ray.errors import (
    BusClosed,
    BusError,
    InvalidInput,
    MailboxFull,
    RequestTimedOut,
    UnknownAgent,
)


@in_virtual_time
async def test_registering_twice_keeps_the_first_queue_and_its_mail() -> None:
    bus = bus_of("b", size=1)
    await bus.send(mail(4))
    bus.register_agent("b", queue_size=50)
    assert bus.queues["b"].maxsize == 1
    assert (await bus.receive("b")).content == {"number": 4}


@pytest.mark.parametrize("size", [0, -3])
@in_virtual_time
async def test_no_size_means_the_default_bound_and_more_are_refused(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zejzl_ray.bus.facade.DEFAULT_CAPACITY", 3)
    bus = bus_of("b", size=size)
    for number in range(3):
        await bus.send(mail(number))
    with pytest.raises(MailboxFull):
        await bus.send(mail())
    assert asyncio.get_running_loop().time() == 0
    assert bus.queues["b"].maxsize == 0


def test_the_default_bound_is_a_hundred_thousand() -> None:
    bus = MessageBus()
    bus.register_agent("b")
    assert bus._office.mailbox("b").capacity == 100_000


@in_virtual_time
async def test_a_sender_to_a_full_queue_waits_and_not_for_ever() -> None:
    bus = bus_of("b", size=1, default_timeout=4.0)
    await bus.send(mail(0))
    sender = asyncio.create_task(bus.send(mail(1)))
    await settle()
    assert not sender.done()
    await bus.receive("b")
    await sender
    with pytest.raises(MailboxFull):
        await bus.send(mail(2))
    assert asyncio.get_running_loop().time() == pytest.approx(4.0)


@in_virtual_time
async def test_unregistering_wakes_who_waits_and_tells_how_much_was_dropped() -> None:
    bus = bus_of("a", "b")
    receiver = asyncio.create_task(bus.receive("a", 50.0))
    await settle()
    for number in range(3):
        await bus.send(mail(number))
    assert bus.unregister_agent("b") == 3
    assert bus.unregister_agent("b") == 0
    assert bus.unregister_agent("a") == 0
    with pytest.raises(BusClosed):
        await receiver
    assert bus._office.dead_letters.counts() == {DeadLetterReason.MAILBOX_CLOSED: 3}
    bus.register_agent("b", 5)
    assert bus.get_queue_size("b") == 0


@in_virtual_time
async def test_the_error_of_an_unknown_receiver_is_caught_by_all_its_old_names() -> None:
    bus = bus_of("a", "b")
    for call in (
        bus.send(mail(to="X")),
        bus.send_request("a", "X", "t", {}),
        bus.send_response("a", "X", "t", {}, "c"),
    ):
        with pytest.raises(UnknownAgent, match="Unknown agent: X") as caught:
            await call
        assert isinstance(caught.value, BusError)
        assert isinstance(caught.value, ValueError)
        assert caught.value.details == {"to_agent": "X", "available_agents": ["a", "b"]}
    for wrong in (bus.receive("X"), bus.send_request("X", "b", "t", {})):
        with pytest.raises(ValueError, match="Unknown agent: X"):
            await wrong
    with pytest.raises(ValueError, match="Unknown agent"):
        bus.subscribe_callback("X", print)
    with pytest.raises(ValueError, match="Unknown agent"):
        await anext(bus.subscribe("X"))
    await bus.send(mail(sender="nobody"))
    assert bus.get_stats()["pending_requests"] == 0


@pytest.mark.parametrize("wrong", [{"max_concurrent": 0}, {"max_concurrent": 1.5}, {"max_concurrent": True}])
def test_a_bound_of_callbacks_that_is_none_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="max_concurrent is"):
        MessageBus(**wrong)


@pytest.mark.parametrize("wrong", ["9", None, 1.5, True])
def test_a_queue_size_that_is_none_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidInput, match="queue_size of b is"):
        MessageBus().register_agent("b", wrong)


@pytest.mark.parametrize(
    "wrong", [{"default_timeout": 0}, {"default_timeout": "30"}, {"history_size": -1}, {"history_size": 1.5}]
)
def test_options_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        MessageBus(**wrong)


@pytest.mark.parametrize("priority", [9, "urgent", None])
@in_virtual_time
async def test_a_wrong_priority_is_refused_before_anything_is_queued(priority: Any) -> None:
    bus = bus_of("a", "b")
    with pytest.raises(InvalidInput):
        await bus.send_request("a", "b", "t", {}, priority=priority)
    with pytest.raises(InvalidInput):
        await bus.send_response("a", "b", "t", {}, "c", priority=priority)
    assert (bus.message_count, bus.get_queue_size("b")) == (0, 0)


@in_virtual_time
async def test_many_who_wait_for_mail_hold_up_nobody() -> None:
    """The old one held a slot while it waited."""
    bus = bus_of("a", "b", max_concurrent=1)
    waiting = [asyncio.create_task(bus.receive("a", 50.0)) for _ in range(5)]
    await settle()
    await bus.send(mail(1))
    assert (await bus.receive("b", 0)).content == {"number": 1}
    for task in waiting:
        task.cancel()


@in_virtual_time
async def test_a_broadcast_tells_who_got_it_and_leaves_out_one_or_several() -> None:
    bus = bus_of("a", "b", "c", "d")
    message = mail(to="all", priority=LOW, correlation_id="c1", metadata={"m": 1})
    assert await bus.broadcast(message) == ["b", "c", "d"]
    assert await bus.broadcast(message, "b") == ["c", "d"]
    assert await bus.broadcast(message, exclude=["b", "d"]) == ["c"]
    copy = await bus.receive("c")
    assert (copy.priority, copy.correlation_id, copy.metadata) == (LOW, "c1", {"m": 1})
    assert bus.message_count == 6


@in_virtual_time
async def test_a_late_response_is_counted_as_a_dead_letter() -> None:
    bus = bus_of("a", "b")
    request = asyncio.create_task(bus.send_request("a", "b", "question", {}, timeout=1.0))
    taken = await bus.receive("b")
    with pytest.raises(RequestTimedOut):
        await request
    assert taken.correlation_id is not None
    await bus.send_response("b", "a", "response", {}, taken.correlation_id)
    assert bus.get_queue_size("a") == 0
    assert bus._office.dead_letters.counts() == {DeadLetterReason.LATE_REPLY: 1}


@in_virtual_time
async def test_an_iterator_gives_all_mail_and_goes_on_when_none_comes_for_long() -> None:
    bus = bus_of("b", default_timeout=1.0)
    got: list[int] = []

    async def read() -> None:
        async for message in bus.subscribe("b"):
            got.append(message.content["number"])

    reader = asyncio.create_task(read())
    await bus.send(mail(1))
    await asyncio.sleep(10.0)
    await bus.send(mail(2))
    await settle()
    assert got == [1, 2]
    bus.unregister_agent("b")
    with pytest.raises(ValueError, match="It was unregistered"):
        await reader
