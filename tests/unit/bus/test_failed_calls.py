"""Calls between processes that fail: what is dead, what is only slow, and what has become of the mail."""

import asyncio

import pytest

from tests.unit.bus.linked_offices import Offices, note, numbers, rest
from tests.unit.bus.virtual_time import in_virtual_time
from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.bus.ports import Outgoing
from zejzl_ray.bus.post_office import PostOffice
from zejzl_ray.errors import (
    AgentUnreachable,
    DeadlineExceeded,
    Overloaded,
    RequestTimedOut,
    SecurityFeedStale,
    SenderRefused,
)


def pair(**options: object) -> Offices:
    offices = Offices("a", "b", **options)
    offices.open("a", "writer")
    offices.open("b", "reader")
    return offices


async def read(offices: Offices, count: int) -> list[int]:
    return numbers([await offices.offices["b"].receive("reader", 60.0) for _ in range(count)])


async def answer(offices: Offices, after_s: float) -> None:
    request = await offices.offices["b"].receive("reader", 60.0)
    await asyncio.sleep(after_s)
    await offices.offices["b"].respond(request, {"answer": 42})


@in_virtual_time
async def test_a_batch_without_an_answer_is_given_up_alone() -> None:
    offices = pair()
    office, wire = offices.offices["a"], offices.wires["a"]
    wire.errors.append(DeadlineExceeded("no answer within 5 s"))
    await office.send(note(0, "reader"))
    await office.send(note(1, "reader"))
    await rest()
    await office.send(note(2, "reader"))  # it is not held to be gone
    assert await read(offices, 1) == [2]
    letters = office.dead_letters.letters()
    assert [letter.reason for letter in letters] == [DeadLetterReason.UNREACHABLE] * 2
    await offices.close()


@in_virtual_time
async def test_requests_go_on_waiting_when_a_batch_gets_no_answer() -> None:
    offices = pair()
    office, wire = offices.offices["a"], offices.wires["a"]
    answering = asyncio.create_task(answer(offices, 2.0))
    wire.lost_answers = 1
    reply = await office.request(note(0, "reader"), 10.0)
    assert reply.content == {"answer": 42}
    assert not office.dead_letters.counts()
    await answering
    wire.errors.append(DeadlineExceeded("no answer within 5 s"))
    with pytest.raises(RequestTimedOut):
        await office.request(note(1, "reader"), 3.0)
    await offices.close()


@in_virtual_time
async def test_requests_end_when_the_process_is_gone() -> None:
    offices = pair()
    offices.wires["a"].errors.append(AgentUnreachable("it died"))
    with pytest.raises(AgentUnreachable):
        await offices.offices["a"].request(note(0, "reader"), 10.0)
    await offices.close()


@pytest.mark.parametrize("kind", [Overloaded, SecurityFeedStale])
def test_a_process_that_looks_at_nothing_now_gets_it_later_and_in_order(kind: type[Overloaded]) -> None:
    @in_virtual_time
    async def run() -> None:
        offices = pair(batch_messages=2)
        office, wire = offices.offices["a"], offices.wires["a"]
        wire.errors += [kind("busy"), kind("busy"), kind("busy")]
        for number in range(7):
            await office.send(note(number, "reader"))
            await rest()
        assert await read(offices, 7) == list(range(7))
        assert not office.dead_letters.counts()
        await offices.close()

    run()


@in_virtual_time
async def test_a_process_that_looks_at_nothing_for_long_is_given_up() -> None:
    offices = pair(default_timeout_s=5.0)
    office, wire = offices.offices["a"], offices.wires["a"]
    wire.errors += [Overloaded("busy")] * 100
    await office.send(note(0, "reader"))
    await asyncio.sleep(10)
    assert office.dead_letters.counts() == {DeadLetterReason.UNREACHABLE: 1}
    assert office.links()[0].is_idle
    assert len(wire.errors) > 90, "it is not flooded"
    await offices.close()


@in_virtual_time
async def test_mail_of_a_process_that_is_not_let_in_is_refused() -> None:
    offices = pair()
    offices.wires["a"].errors.append(SenderRefused("who are you"))
    await offices.offices["a"].send(note(0, "reader"))
    await rest()
    assert offices.offices["a"].dead_letters.counts() == {DeadLetterReason.REFUSED: 1}
    await offices.close()


@in_virtual_time
async def test_mail_in_an_answer_that_was_lost_is_told_soon_also_by_a_caller_with_nothing_to_say() -> None:
    offices = pair()
    there = offices.offices["b"]
    there.link("a").can_go_back = frozenset(["reader"])
    wire = offices.wires["a"]
    wire.lost_answers = 1
    asking = asyncio.create_task(offices.offices["a"].request(note(0, "reader"), 1.0))
    request = await there.receive("reader", 1.0)
    await there.respond(request, {"answer": 42})  # goes back with the answer
    with pytest.raises(RequestTimedOut):
        await asking
    assert there.dead_letters.counts() == {DeadLetterReason.UNREACHABLE: 1}
    await offices.close()


@in_virtual_time
async def test_mail_that_went_back_is_forgotten_with_the_next_call() -> None:
    offices = pair()
    here, there = offices.offices["a"], offices.offices["b"]
    link = there.link("a")
    link.can_go_back = frozenset(["reader"])
    answering = asyncio.create_task(answer(offices, 0.0))
    await here.request(note(0, "reader"), 1.0)
    await answering
    assert len(link._went_back) == 1
    await here.send(note(1, "reader"))
    await rest()
    assert len(link._went_back) == 0
    await offices.close()


@in_virtual_time
async def test_mail_that_went_back_to_a_process_that_was_started_anew_is_a_dead_letter() -> None:
    offices = pair()
    here, there = offices.offices["a"], offices.offices["b"]
    there.link("a").can_go_back = frozenset(["reader"])
    answering = asyncio.create_task(answer(offices, 0.0))
    await here.request(note(0, "reader"), 1.0)
    await answering
    await there.accept("a", Outgoing(boot="another", call=1), offices)
    assert there.dead_letters.counts() == {DeadLetterReason.UNREACHABLE: 1}
    await offices.close()


@in_virtual_time
async def test_failed_calls_that_are_told_are_a_few() -> None:
    offices = pair()
    office, wire = offices.offices["a"], offices.wires["a"]
    wire.errors += [DeadlineExceeded("late")] * 100
    await office.send(note(0, "reader"))
    await rest(1000)
    outgoing = wire.calls[0][0]
    assert (len(outgoing.unanswered), outgoing.unanswered[-1], outgoing.ended) == (64, 100, 100)
    await offices.close()


@in_virtual_time
async def test_what_waits_is_flushed_before_the_end() -> None:
    offices = pair(batch_messages=2)
    offices.wires["a"].delay_s = 0.1
    office = offices.offices["a"]
    for number in range(9):
        await office.send(note(number, "reader"))
    assert office.waiting
    assert await office.flush(5.0)
    await office.close()
    assert await read(offices, 9) == list(range(9))
    assert not office.dead_letters.counts()
    await offices.close()


@in_virtual_time
async def test_what_cannot_be_flushed_in_time_is_a_dead_letter() -> None:
    offices = pair()
    offices.wires["a"].delay_s = 60.0
    office = offices.offices["a"]
    await office.send(note(0, "reader"))
    await rest()
    await office.send(note(1, "reader"))
    begun_s = asyncio.get_running_loop().time()
    assert not await office.flush(2.0)
    assert asyncio.get_running_loop().time() - begun_s < 2.1
    await office.close()
    assert office.dead_letters.counts() == {DeadLetterReason.UNREACHABLE: 2}
    await offices.close()


class Stepping:
    """A wall clock that is put forward."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.step_s = 0.0

    def now_s(self) -> float:
        return 1_700_000_000.0 + self.loop.time() + self.step_s

    def monotonic_s(self) -> float:
        return self.loop.time()


@in_virtual_time
async def test_a_step_of_the_clock_expires_no_mail_within_a_process() -> None:
    clock = Stepping()
    office = PostOffice(clock=clock)
    office.open_mailbox("reader")
    office.open_mailbox("writer")
    asking = asyncio.create_task(office.request(note(0, "reader"), 10.0))
    await office.send(note(1, "reader", deadline_at_s=clock.now_s() + 5.0))
    await rest()
    clock.step_s = 3600.0
    request, other = await office.receive("reader", 1.0), await office.receive("reader", 1.0)
    assert {request.content["number"], other.content["number"]} == {0, 1}
    await office.respond(request if request.correlation_id else other, {})
    await asking
    clock.step_s = -3600.0
    await office.send(note(2, "reader", deadline_at_s=clock.now_s() + 5.0))
    await asyncio.sleep(6)
    with pytest.raises(RequestTimedOut):
        await office.receive("reader", 0.0)
    assert office.dead_letters.counts() == {DeadLetterReason.EXPIRED: 1}
    await office.close()


@in_virtual_time
async def test_a_message_that_is_sent_again_has_its_new_deadline_or_none() -> None:
    offices = pair()
    office = offices.offices["a"]
    message = note(0, "writer", sender="x", deadline_at_s=office.clock.now_s() + 1.0)
    await office.send(message)
    assert (await office.receive("writer", 0.0)) is message
    message.deadline_at_s = None
    await asyncio.sleep(5)
    await office.send(message)
    assert (await office.receive("writer", 0.0)).expires_s is None
    await offices.close()


@in_virtual_time
async def test_a_deadline_between_processes_is_wall_time() -> None:
    offices = pair()
    office = offices.offices["a"]
    offices.wires["a"].delay_s = 2.0
    message = note(0, "reader", deadline_at_s=office.clock.now_s() + 1.0)
    await office.send(message)
    await office.send(note(1, "reader", deadline_at_s=office.clock.now_s() + 10.0))
    assert await read(offices, 1) == [1]
    assert office.dead_letters.counts() == {DeadLetterReason.EXPIRED: 1}
    await offices.close()


@in_virtual_time
async def test_an_answer_counts_as_arrived_only_when_the_other_side_has_heard_which_did_not() -> None:
    offices = pair(batch_messages=1)
    there = offices.offices["b"]
    link = there.link("a")
    link.can_go_back = frozenset(["reader"])
    wire = offices.wires["a"]
    wire.lost_answers = 1
    wire.delay_s = 0.01
    asking = asyncio.create_task(offices.offices["a"].request(note(0, "reader"), 1.0))
    await there.respond(
        await there.receive("reader", 1.0), {"answer": 42}
    )  # the answer that takes it along is lost
    await asyncio.sleep(0.015)
    wire.errors.append(DeadlineExceeded("the call that would have said so"))
    await offices.offices["a"].send(note(1, "reader"))
    await offices.offices["a"].send(note(2, "reader"))
    await offices.offices["a"].send(note(3, "reader"))
    with pytest.raises(RequestTimedOut):
        await asking
    assert there.dead_letters.counts() == {DeadLetterReason.UNREACHABLE: 1}
    await offices.close()
