"""The bus of one process: what it refuses at the sender, and what a closed one says."""

import asyncio
from typing import Any

import pytest

from tests.unit.bus.one_office import mail, office_of
from tests.unit.bus.virtual_time import in_virtual_time, settle
from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.bus.message import HIGH, Guarantee
from zejzl_ray.bus.options import BusOptions
from zejzl_ray.errors import (
    BusClosed,
    BusError,
    Conflict,
    InvalidInput,
    UnknownAgent,
)


@in_virtual_time
async def test_an_unknown_receiver_is_refused_with_the_names_that_are_known() -> None:
    office = office_of("b", "c")
    with pytest.raises(UnknownAgent, match="Unknown agent: nobody See zejzl agents list") as caught:
        await office.send(mail(to="nobody"))
    assert caught.value.details == {"to_agent": "nobody", "available_agents": ["b", "c"]}
    assert isinstance(caught.value, ValueError)
    assert office.sent == 0
    with pytest.raises(UnknownAgent):
        await office.receive("nobody")
    with pytest.raises(UnknownAgent):
        office.subscribe("nobody", "x")


@in_virtual_time
async def test_of_many_names_only_a_hundred_are_told() -> None:
    office = office_of(*(f"agent{number}" for number in range(150)))
    with pytest.raises(UnknownAgent) as caught:
        await office.send(mail(to="nobody"))
    assert len(caught.value.details["available_agents"]) == 100


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("priority", 9),
        ("priority", "urgent"),
        ("content", "text"),
        ("content", None),
        ("metadata", []),
        ("to_agent", None),
        ("to_agent", ["b"]),
        ("from_agent", 5),
        ("message_type", None),
        ("message_type", []),
        ("correlation_id", 7),
        ("correlation_id", []),
        ("deadline_at_s", "soon"),
        ("id", 1),
    ],
)
@in_virtual_time
async def test_a_field_of_the_wrong_type_is_refused_and_nothing_has_happened(field: str, value: Any) -> None:
    office = office_of("a", "b")
    for deliver in (office.send, office.request):
        message = mail()
        setattr(message, field, value)
        with pytest.raises(InvalidInput, match="priority" if field == "priority" else field):
            await deliver(message)
    assert (office.sent, len(office.mailbox("b")), len(office.pending)) == (0, 0, 0)
    assert office.history() == []
    assert office.dead_letters.counts() == {}


@in_virtual_time
async def test_a_plain_number_for_a_priority_is_taken_also_when_it_was_assigned() -> None:
    office = office_of("b")
    message = mail()
    message.priority = 0  # type: ignore[assignment] # as old code does
    await office.send(message)
    assert (await office.receive("b")).priority is HIGH
    assert office.history()[0]["priority"] == "HIGH"


@in_virtual_time
async def test_at_least_once_needs_a_store() -> None:
    office = office_of("b")
    with pytest.raises(BusError, match=r"keeps no mail, so it cannot promise at least once. Give it a store"):
        await office.send(mail(guarantee=Guarantee.AT_LEAST_ONCE))
    await office.ack(mail())
    await office.nack(mail(), "no")


@pytest.mark.parametrize("name", ["", None, 5, "x" * 257])
@in_virtual_time
async def test_a_name_that_is_none_opens_no_mailbox(name: Any) -> None:
    with pytest.raises(InvalidInput, match="names no agent"):
        office_of(name)


@in_virtual_time
async def test_a_mailbox_is_opened_once_and_closed_as_often_as_one_likes() -> None:
    office = office_of("b")
    with pytest.raises(Conflict, match=r"open already. Close it first"):
        office.open_mailbox("b")
    await office.send(mail(4))
    assert [message.content["number"] for message in office.close_mailbox("b")] == [4]
    assert office.close_mailbox("b") == []
    assert office.agents() == []
    assert not office.is_local("b")
    assert office.find("b") is None
    assert office.dead_letters.counts() == {DeadLetterReason.MAILBOX_CLOSED: 1}
    office.open_mailbox("b")


@pytest.mark.parametrize(
    "wrong",
    [
        {"default_timeout_s": 0},
        {"default_timeout_s": float("nan")},
        {"default_timeout_s": "30"},
        {"link_capacity": True},
        {"history_size": -1},
        {"max_message_bytes": 0},
    ],
)
def test_bounds_that_let_nothing_through_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=f"{next(iter(wrong))} of a bus is"):
        BusOptions(**wrong)


def test_a_message_has_to_fit_where_it_waits() -> None:
    with pytest.raises(InvalidInput, match="Give link_bytes that one message fits into"):
        BusOptions(max_message_bytes=1000, link_bytes=999)


@in_virtual_time
async def test_a_closed_bus_says_so_to_everybody() -> None:
    office = office_of("a", "b")
    waiting = [
        asyncio.create_task(office.receive("b", 50.0)),
        asyncio.create_task(office.receive("a", 50.0)),
    ]
    await settle()
    await office.send(mail())
    request = asyncio.create_task(office.request(mail(), 50.0))
    await settle()
    await office.close()
    await office.close()
    assert (await waiting[0]).content == {"number": 0}
    for task in (waiting[1], request):
        with pytest.raises(BusClosed):
            await task
    for call in (office.send(mail()), office.receive("b"), office.request(mail())):
        with pytest.raises(BusClosed, match=r"The bus of this process is closed. Make a new one"):
            await call
    with pytest.raises(BusClosed):
        office.open_mailbox("c")
    assert asyncio.get_running_loop().time() == 0


@in_virtual_time
async def test_a_message_whose_receiver_gave_up_as_the_mailbox_was_closed_is_a_dead_letter() -> None:
    office = office_of("b")
    receiver = asyncio.create_task(office.receive("b", 5.0))
    await settle()
    await office.send(mail(4))
    office.close_mailbox("b")
    receiver.cancel()
    await settle()
    assert office.dead_letters.counts() == {DeadLetterReason.MAILBOX_CLOSED: 1}
    assert office.dead_letters.letters()[0].detail == "b stopped before it read it"
