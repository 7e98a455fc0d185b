"""Mail whose sender is not proved yet, the way back to who has asked, and who is watched."""

import asyncio

import pytest

from tests.unit.bus.durable_offices import World, mail, numbers
from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.bus.message import Message
from zejzl_ray.errors import SenderRefused, UnknownAgent


async def two(*, is_known: bool = True) -> World:
    """Return a world with ``writer`` on a and ``reader`` on b; without ``is_known`` nobody knows where writer is."""
    world = World()
    await world.start("a", "writer")
    await world.start("b", "reader")
    if not is_known:
        del world.hosts["writer"]
    return world


async def later(world: World) -> None:
    for _ in range(8):
        await world.rest()
        world.clock.advance(1)
        for process in world.processes.values():
            process.mail.tick()
    await world.rest()


async def test_kept_mail_of_an_agent_without_a_proof_waits_for_one_and_other_mail_is_told() -> None:
    world = await two()
    a, b = world.processes["a"], world.processes["b"]
    world.why_not["writer"] = "it has shown no proof"
    world.unproved.add("writer")
    await a.office.send(mail(1))
    await a.office.send(Message("writer", "reader", "plain", {}))
    await later(world)
    assert a.office.dead_letters.counts() == {DeadLetterReason.UNPROVED: 1}
    assert a.unsettled == 1
    world.why_not.clear()
    await later(world)
    assert numbers(await b.take_all()) == [1]


async def test_a_request_of_an_agent_without_a_proof_ends_at_once() -> None:
    world = await two()
    world.why_not["writer"] = "it has shown no proof"
    world.unproved.add("writer")
    with pytest.raises(SenderRefused, match="unproved"):
        await world.processes["a"].office.request(Message("writer", "reader", "ask", {}), 30.0)


async def ask(world: World) -> tuple["asyncio.Task[Message]", Message]:
    """Have writer ask reader, and return the request as reader has it."""
    asking = asyncio.create_task(
        world.processes["a"].office.request(Message("writer", "reader", "ask", {}), 300.0)
    )
    await world.rest()
    return asking, await world.processes["b"].take()


async def test_a_reply_finds_who_has_asked_before_the_directory_does_for_a_minute() -> None:
    world = await two(is_known=False)
    b = world.processes["b"].office
    asking, request = await ask(world)
    await b.respond(request, {"n": 1})
    assert (await asking).content == {"n": 1}
    await b.send(Message("reader", "writer", "more", {}))
    world.clock.advance(61)
    with pytest.raises(UnknownAgent):
        await b.send(Message("reader", "writer", "more", {}))


async def test_who_has_asked_and_leaves_is_unknown_once_the_directory_knew_it() -> None:
    world = await two()
    b = world.processes["b"].office
    asking, request = await ask(world)
    await b.respond(request, {})
    await asking
    del world.hosts["writer"]
    with pytest.raises(UnknownAgent):
        await b.send(Message("reader", "writer", "more", {}))


async def test_a_host_is_watched_once_mail_went_back_to_it_with_an_answer() -> None:
    world = await two()
    b = world.processes["b"].office
    b.link("a").can_go_back = frozenset({"reader"})
    asking, request = await ask(world)
    assert world.watched == set()
    a_to_b = world.processes["a"].office
    b.link("a")._flights.add(asyncio.create_task(asyncio.sleep(0)))  # it cannot go by itself now
    await b.respond(request, {})
    await asyncio.sleep(0)
    b.link("a")._flights.clear()
    await a_to_b.send(Message("writer", "reader", "note", {}))
    await asking
    assert world.watched == {("b", "a")}
