"""Mail between processes that does not arrive: where it goes, and who hears of it."""

import asyncio

import pytest

from tests.unit.bus.linked_offices import Offices, note, numbers, read, reasons, rest, serve, two
from tests.unit.bus.virtual_time import in_virtual_time
from zejzl_ray.bus import arrivals, codec
from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.bus.mailbox import Overflow
from zejzl_ray.bus.ports import Outgoing
from zejzl_ray.errors import (
    AgentUnreachable,
    BusClosed,
    DeadlineExceeded,
    Overloaded,
    RequestTimedOut,
    UnknownAgent,
)


@in_virtual_time
async def test_an_agent_that_has_moved_gets_the_mail_that_was_under_way_to_its_old_place() -> None:
    offices = Offices("a", "b", "c")
    offices.open("a", "writer")
    offices.open("b", "reader")
    here = offices.offices["a"]
    offices.wires["a"].delay_s = 0.1
    request = asyncio.create_task(here.request(note(0, "reader"), 10.0))
    for number in range(1, 4):
        await here.send(note(number, "reader"))
    offices.offices["b"].close_mailbox("reader")
    offices.offices["c"].open_mailbox("reader")
    await asyncio.sleep(1.0)
    assert not request.done()
    offices.hosts["reader"] = "c"
    there = offices.offices["c"]
    taken = [await there.receive("reader", 5.0) for _ in range(4)]
    assert sorted(numbers(taken)) == [0, 1, 2, 3]
    await there.respond(next(each for each in taken if each.correlation_id), {"new": "place"})
    assert (await request).content == {"new": "place"}
    assert reasons(here) == {}
    await offices.close()


@in_virtual_time
async def test_an_agent_that_has_come_to_its_senders_process_gets_it_there_and_waits_for_room() -> None:
    offices, here, there = two()
    offices.wires["a"].delay_s = 0.1
    request = asyncio.create_task(here.request(note(0, "reader"), 10.0))
    await here.send(note(1, "reader"))
    there.close_mailbox("reader")
    await asyncio.sleep(0.5)
    here.open_mailbox("reader", capacity=1, overflow=Overflow.WAIT)
    await asyncio.sleep(0.5)
    assert len(here.mailbox("reader")) == 1
    taken = await here.receive("reader", 5.0)
    await asyncio.sleep(0.1)
    offices.hosts["reader"] = "a"
    here.link("b").peer_gone("killed")  # it has nothing to do with that process any more
    await here.respond(taken, {}) if taken.correlation_id else None
    last = await here.receive("reader", 5.0)
    if last.correlation_id:
        await here.respond(last, {})
    assert (await request).content == {}
    await offices.close()


@in_virtual_time
async def test_an_agent_that_turns_up_nowhere_is_unknown_in_the_end() -> None:
    offices, here, there = two()
    offices.wires["a"].delay_s = 0.1
    request = asyncio.create_task(here.request(note(0, "reader"), 50.0))
    await here.send(note(1, "reader"))
    there.close_mailbox("reader")
    with pytest.raises(
        UnknownAgent, match=r"did not reach reader: unknown agent .reader has no mailbox there"
    ):
        await request
    assert asyncio.get_running_loop().time() < 5.0
    assert reasons(here) == {DeadLetterReason.UNKNOWN_AGENT: 2}
    await offices.close()


@in_virtual_time
async def test_the_end_of_a_process_ends_its_requests_at_once_and_tells_where_agents_move_to() -> None:
    offices, here, _ = two()
    offices.open("b", "mover")
    requests = [asyncio.create_task(here.request(note(0, to), 50.0)) for to in ("reader", "mover")]
    await asyncio.sleep(1.0)
    offices.hosts["mover"] = "elsewhere"
    here.link("b").peer_gone("its actor died")
    for request, moves_to in zip(requests, ("", "elsewhere"), strict=True):
        with pytest.raises(AgentUnreachable, match=r"its process b is gone \(its actor died\)") as caught:
            await request
        assert caught.value.details["moves_to"] == moves_to
        assert ("elsewhere now: send again" in caught.value.remedy) == bool(moves_to)
    assert asyncio.get_running_loop().time() == pytest.approx(1.0)
    with pytest.raises(AgentUnreachable, match="reader cannot be reached"):
        await here.send(note(1, "reader"))
    assert here.link("b").is_down
    await asyncio.sleep(0.6)
    assert not here.link("b").is_down
    await here.send(note(2, "reader"))
    await offices.close()


@in_virtual_time
async def test_mail_that_had_not_left_when_a_process_died_follows_its_agent_or_comes_back() -> None:
    offices = Offices("a", "b", "c")
    offices.open("a", "writer")
    for agent in ("mover", "stayer"):
        offices.open("b", agent)
    here = offices.offices["a"]
    offices.wires["a"].delay_s = 1.0
    await here.send(note(0, "stayer"))
    await rest()
    request = asyncio.create_task(here.request(note(1, "mover"), 50.0))
    await here.send(note(2, "stayer"))
    await rest()
    del offices.offices["b"]
    here.link("b").peer_gone("killed")
    offices.offices["c"].open_mailbox("mover")
    offices.hosts["mover"] = "c"
    server = asyncio.create_task(serve(offices.offices["c"], "mover"))
    assert (await request).content == {"of": 1}
    await asyncio.sleep(5.0)
    assert reasons(here) == {DeadLetterReason.UNREACHABLE: 2}
    server.cancel()
    await offices.close()


@in_virtual_time
async def test_senders_that_wait_for_room_hear_that_the_process_is_gone_and_where_to() -> None:
    offices, here, _ = two(link_capacity=1, batch_messages=1)
    offices.wires["a"].delay_s = 10.0
    for number in range(3):
        await here.send(note(number, "reader"))
        await rest()
    waiting = asyncio.create_task(here.send(note(3, "reader")))
    await rest()
    offices.hosts["reader"] = "elsewhere"
    here.link("b").peer_gone("killed")
    with pytest.raises(AgentUnreachable) as caught:
        await waiting
    assert caught.value.details["moves_to"] == "elsewhere"
    await offices.close()


@in_virtual_time
async def test_closing_gives_up_what_waits_and_says_so_to_those_who_wait() -> None:
    offices, here, _ = two(link_capacity=2, batch_messages=1)
    offices.wires["a"].delay_s = 100.0
    request = asyncio.create_task(here.request(note(0, "reader"), 50.0))
    await rest()
    for number in range(1, 4):
        await here.send(note(number, "reader"))
        await rest()
    waiting = asyncio.create_task(here.send(note(4, "reader")))
    await rest()
    await here.close()
    for task in (request, waiting):
        with pytest.raises(BusClosed):
            await task
    assert reasons(here) == {DeadLetterReason.UNREACHABLE: 4}
    with pytest.raises(BusClosed):
        await here.send(note(5, "reader"))
    here.link("b").tell()
    here.link("c").tell()
    await asyncio.sleep(1.0)
    assert offices.wires["a"].calls == []
    await offices.offices["b"].close()


@in_virtual_time
async def test_a_batch_for_a_closed_process_is_not_taken_and_finds_its_way() -> None:
    _, here, there = two()
    await there.close()
    await here.send(note(1, "reader"))
    await asyncio.sleep(5.0)
    assert reasons(here) == {DeadLetterReason.UNKNOWN_AGENT: 1}
    await here.close()


@in_virtual_time
async def test_an_agent_without_a_mailbox_cannot_ask_another_process() -> None:
    offices, here, _ = two()
    with pytest.raises(UnknownAgent, match="Unknown agent: script"):
        await here.request(note(1, "reader", "script"), 5.0)
    await offices.close()


@in_virtual_time
async def test_a_late_reply_from_another_process_is_a_dead_letter_here() -> None:
    offices, here, there = two()
    request = asyncio.create_task(here.request(note(1, "reader"), 1.0))
    taken = await there.receive("reader", 5.0)
    with pytest.raises(RequestTimedOut):
        await request
    taken.deadline_at_s = None
    await there.respond(taken, {})
    await asyncio.sleep(1.0)
    assert reasons(here) == {DeadLetterReason.LATE_REPLY: 1}
    await offices.close()


@in_virtual_time
async def test_who_asked_is_remembered_for_a_few_agents_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "_MAX_ASKED", 2)
    monkeypatch.setattr(arrivals, "_MAX_SHUT", 1)
    offices, _, there = two()
    for agent in ("full", "fuller"):
        offices.open("b", agent, capacity=1, overflow=Overflow.WAIT)
    messages = [
        note(number, to, f"asker{number}", correlation_id=f"c{number}", id=f"m{number}")
        for number, to in enumerate(["reader"] * 3 + ["full"] * 2 + ["fuller"] * 2)
    ]
    batch = codec.join([codec.encode(message) for message in messages])
    delivered = await there.accept("a", Outgoing("boot", 1, batch), offices)
    assert [refused.message_id for refused in delivered.refused] == ["m4", "m6"]
    known = [agent for agent in (f"asker{number}" for number in range(7)) if there.away.locate(agent)]
    assert known == ["asker3", "asker5"]
    await offices.close()


@in_virtual_time
async def test_what_a_busy_process_did_not_look_at_is_given_up_when_this_one_stops() -> None:
    offices, here, _ = two()
    offices.wires["a"].errors = [Overloaded("busy")] * 3
    await here.send(note(1, "reader"))
    await asyncio.sleep(0.3)
    assert reasons(here) == {}
    await offices.close()
    assert reasons(here) == {DeadLetterReason.UNREACHABLE: 1}
    assert here.dead_letters.letters()[0].detail == "this process stopped"


@in_virtual_time
async def test_mail_that_waits_for_room_elsewhere_waits_for_a_busy_process_too() -> None:
    offices, here, there = two()
    offices.open("b", "full", capacity=1, overflow=Overflow.WAIT)
    for number in range(3):
        await here.send(note(number, "full"))
    await asyncio.sleep(0.1)
    offices.wires["a"].errors = [Overloaded("busy")] * 3
    assert await read(there, 3, "full") == [0, 1, 2]
    assert reasons(here) == {}
    await offices.close()


@in_virtual_time
async def test_which_batch_went_back_with_which_answer_is_remembered_for_the_last_ones_only() -> None:
    offices, here, there = two()
    there.link("a").can_go_back = frozenset({"reader"})
    server = asyncio.create_task(serve(there, "reader"))
    for number in range(70):
        await here.request(note(number, "reader"), 5.0)
    assert len(there.link("a")._number_in_answer) == 64
    server.cancel()
    await offices.close()


@in_virtual_time
async def test_a_batch_that_is_lost_is_not_waited_for_once_that_is_known() -> None:
    offices, here, there = two(batch_messages=1)
    loop = asyncio.get_running_loop()
    await here.send(note(0, "reader"))
    await rest()
    offices.wires["a"].errors = [DeadlineExceeded("no answer")] * 2  # the second tells of the first, in vain
    await here.send(note(1, "reader"))
    await rest()
    await here.send(note(2, "reader"))
    assert await read(there, 2) == [0, 2]
    assert loop.time() < 0.1
    assert reasons(here) == {DeadLetterReason.UNREACHABLE: 1}
    await offices.close()


@in_virtual_time
async def test_mail_that_was_lost_with_an_answer_does_not_hold_up_what_comes_by_a_call() -> None:
    offices, here, there = two()
    there.link("a").can_go_back = frozenset({"reader"})
    offices.wires["a"].lost_answers = 1
    request = asyncio.create_task(here.request(note(0, "reader"), 1.0))
    await there.respond(await there.receive("reader", 5.0), {})  # goes back with the answer that is lost
    with pytest.raises(RequestTimedOut):
        await request
    await here.send(note(1, "reader"))  # tells which answer did not come
    await read(there, 1)
    begun_s = asyncio.get_running_loop().time()
    await there.send(note(2, "writer", "reader"))
    assert await read(here, 1, "writer") == [2]
    assert asyncio.get_running_loop().time() - begun_s < 0.1
    assert reasons(there) == {DeadLetterReason.UNREACHABLE: 1}
    await offices.close()


@in_virtual_time
async def test_a_batch_that_a_busy_process_did_not_look_at_keeps_its_place_before_those_behind_it() -> None:
    offices, here, there = two(batch_messages=2)
    offices.wires["a"].delay_s = 0.05
    for number in range(6):
        await here.send(note(number, "reader"))
    await rest()
    offices.wires["a"].errors = [Overloaded("busy")]
    assert await read(there, 6) == [0, 1, 2, 3, 4, 5]
    await offices.close()
