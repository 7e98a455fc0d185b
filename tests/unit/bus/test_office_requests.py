"""The bus of one process: requests and their replies."""

import asyncio
from typing import Any

import pytest

from tests.unit.bus.one_office import answer, mail, office_of, read
from tests.unit.bus.virtual_time import in_virtual_time, settle
from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.bus.failures import FAILURE, failure_content
from zejzl_ray.bus.mailbox import Overflow
from zejzl_ray.bus.message import HIGH, LOW, Message
from zejzl_ray.errors import (
    BusClosed,
    Conflict,
    HandlerFailed,
    InvalidInput,
    MailboxFull,
    RequestTimedOut,
    UnknownAgent,
)


@in_virtual_time
async def test_two_requests_at_once_get_their_own_replies_in_reversed_order() -> None:
    office = office_of("a", "b")
    requests = [asyncio.create_task(office.request(mail(number))) for number in range(2)]
    taken = [await office.receive("b") for _ in range(2)]
    for request in reversed(taken):
        await office.respond(request, {"of": request.content["number"]})
    replies = await asyncio.gather(*requests)
    assert [reply.content for reply in replies] == [{"of": 0}, {"of": 1}]
    assert replies[0].correlation_id == taken[0].correlation_id != taken[1].correlation_id
    assert (replies[0].priority, replies[0].message_type, replies[0].caused_by) == (
        HIGH,
        "task_response",
        taken[0].id,
    )
    assert len(office.pending) == 0


@in_virtual_time
async def test_other_mail_stays_in_the_mailbox_of_one_who_waits_for_a_reply() -> None:
    office = office_of("a", "b")
    await office.send(mail(1, to="a"))
    request = asyncio.create_task(office.request(mail()))
    await settle()
    await office.send(mail(2, to="a"))
    await answer(office)
    await request
    await office.send(mail(3, to="a"))
    assert await read(office, "a") == [1, 2, 3]


@in_virtual_time
async def test_a_request_without_a_reply_times_out_and_says_of_whom() -> None:
    office = office_of("a", "b")
    with pytest.raises(
        RequestTimedOut, match=r"b did not answer the 'task' request of a within 2 s. Give it more"
    ) as caught:
        await office.request(mail(), 2)
    assert isinstance(caught.value, TimeoutError)
    assert asyncio.get_running_loop().time() == pytest.approx(2.0)
    assert len(office.pending) == 0
    assert office.figures.events.value("bus_request_timeouts_total", "b") == 1


@in_virtual_time
async def test_the_deadline_of_a_request_comes_first_where_it_is_earlier() -> None:
    office = office_of("a", "b")
    with pytest.raises(RequestTimedOut):
        await office.request(mail(deadline_at_s=office.clock.now_s() + 1.5), 100.0)
    assert asyncio.get_running_loop().time() == pytest.approx(1.5)


@in_virtual_time
async def test_nobody_handles_a_request_whose_time_is_over() -> None:
    office = office_of("a", "b")
    with pytest.raises(RequestTimedOut):
        await office.request(mail(), 1.0)
    with pytest.raises(RequestTimedOut):
        await office.receive("b", 0)
    assert office.dead_letters.counts() == {DeadLetterReason.EXPIRED: 1}


@in_virtual_time
async def test_a_late_reply_is_a_dead_letter_and_goes_into_no_mailbox() -> None:
    office = office_of("a", "b")
    request = asyncio.create_task(office.request(mail(), 1.0))
    taken = await office.receive("b")
    with pytest.raises(RequestTimedOut):
        await request
    await office.respond(taken, {})
    assert len(office.mailbox("a")) == 0
    assert office.dead_letters.counts() == {DeadLetterReason.LATE_REPLY: 1}


@in_virtual_time
async def test_a_second_reply_is_a_dead_letter_however_soon_it_comes() -> None:
    office = office_of("a", "b")
    request = asyncio.create_task(office.request(mail()))
    taken = await office.receive("b")
    await office.respond(taken, {"reply": 1})
    await office.respond(taken, {"reply": 2})
    assert (await request).content == {"reply": 1}
    await office.respond(taken, {"reply": 3})
    letters = office.dead_letters.letters()
    assert [(letter.reason, letter.message.content) for letter in letters] == [
        (DeadLetterReason.LATE_REPLY, {"reply": 2}),
        (DeadLetterReason.LATE_REPLY, {"reply": 3}),
    ]


@in_virtual_time
async def test_a_reply_that_comes_just_as_its_request_is_given_up_is_not_lost_unseen() -> None:
    office = office_of("a", "b")
    request = asyncio.create_task(office.request(mail()))
    taken = await office.receive("b")
    await office.respond(taken, {})
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert office.dead_letters.counts() == {DeadLetterReason.LATE_REPLY: 1}


@in_virtual_time
async def test_nothing_waits_after_success_failure_cancellation_and_an_unknown_receiver() -> None:
    office = office_of("a", "b")
    with pytest.raises(UnknownAgent):
        await office.request(mail(to="nobody"))
    cancelled = asyncio.create_task(office.request(mail()))
    await settle()
    assert len(office.pending) == 1
    cancelled.cancel()
    await settle()
    assert len(office.pending) == 0


@in_virtual_time
async def test_a_reply_that_the_old_way_sends_as_plain_mail_is_one_too() -> None:
    office = office_of("a", "b")
    request = asyncio.create_task(office.request(mail()))
    taken = await office.receive("b")
    await office.send(Message("b", "a", "response", {"ok": 1}, correlation_id=taken.correlation_id))
    assert (await request).content == {"ok": 1}
    late = Message("b", "a", "response", {"number": 2}, correlation_id=taken.correlation_id)
    await office.send(late)
    assert await read(office, "a") == [2]


@in_virtual_time
async def test_an_agent_may_ask_itself() -> None:
    office = office_of("a")
    request = asyncio.create_task(office.request(mail(7, to="a")))
    taken = await answer(office, "a")
    assert taken.content == {"number": 7}
    assert (await request).content == {"of": {"number": 7}}


@in_virtual_time
async def test_a_correlation_id_that_waits_cannot_be_used_again() -> None:
    office = office_of("a", "b")
    request = asyncio.create_task(office.request(mail(correlation_id="mine")))
    await settle()
    with pytest.raises(Conflict, match=r"A request mine waits already. Leave the correlation id out"):
        await office.request(mail(correlation_id="mine"))
    await answer(office)
    assert (await request).correlation_id == "mine"


@in_virtual_time
async def test_what_a_handler_failed_with_is_raised_where_it_was_asked() -> None:
    office = office_of("a", "b")
    request = asyncio.create_task(office.request(mail()))
    taken = await office.receive("b")
    failure = HandlerFailed("it broke", "mend it", {"agent": "b"})
    await office.respond(taken, failure_content(failure), message_type=FAILURE)
    with pytest.raises(HandlerFailed, match="it broke mend it") as caught:
        await request
    assert caught.value.details == {"agent": "b"}


@in_virtual_time
async def test_a_request_ends_with_the_true_reason_when_its_receiver_stops_or_drops_it() -> None:
    office = office_of("a", "b")
    office.open_mailbox("c", capacity=1, overflow=Overflow.DROP_OLDEST_LOW)
    closed = asyncio.create_task(office.request(mail(to="b")))
    dropped = asyncio.create_task(office.request(mail(to="c", priority=LOW)))
    await settle()
    office.close_mailbox("b")
    await office.send(mail(to="c", priority=HIGH))
    with pytest.raises(BusClosed, match="did not reach b: mailbox closed") as caught:
        await closed
    assert caught.value.details["reason"] == "mailbox_closed"
    with pytest.raises(MailboxFull, match="did not reach c: dropped low"):
        await dropped


@in_virtual_time
async def test_other_mail_with_the_id_of_a_request_does_not_end_it_when_it_is_lost() -> None:
    office = office_of("a", "b", "c")
    request = asyncio.create_task(office.request(mail()))
    taken = await office.receive("b")
    await office.send(Message("b", "c", "progress", {}, correlation_id=taken.correlation_id))
    office.close_mailbox("c")
    await office.respond(taken, {"ok": 1})
    assert (await request).content == {"ok": 1}


@pytest.mark.parametrize("limit", ["5", float("nan"), [1]])
@in_virtual_time
async def test_a_time_limit_that_is_none_is_refused(limit: Any) -> None:
    office = office_of("a", "b")
    with pytest.raises(InvalidInput, match="Give seconds"):
        await office.request(mail(), limit)
    assert len(office.pending) == 0
    with pytest.raises(InvalidInput, match="Give seconds"):
        await office.receive("b", limit)


@in_virtual_time
async def test_only_requests_are_answered() -> None:
    office = office_of("a", "b")
    with pytest.raises(InvalidInput, match=r"is no request. Answer with send"):
        await office.respond(mail(), {})


@in_virtual_time
async def test_a_reply_carries_what_its_sender_says() -> None:
    office = office_of("a", "b")
    request = asyncio.create_task(office.request(mail(traceparent="00-aa-bb-01")))
    taken = await office.receive("b")
    await office.respond(taken, {}, message_type="done", priority=LOW, from_agent="deputy", metadata={"m": 1})
    reply = await request
    assert (reply.message_type, reply.priority, reply.from_agent) == ("done", LOW, "deputy")
    assert (reply.metadata, reply.traceparent, reply.is_reply) == ({"m": 1}, "00-aa-bb-01", True)


@in_virtual_time
async def test_a_request_that_was_given_up_is_not_handled_any_more() -> None:
    office = office_of("a", "b")
    requests = [asyncio.create_task(office.request(mail(number))) for number in range(2)]
    await settle()
    given_up = next(iter(office.pending)).message
    assert await office.give_up(given_up.correlation_id or "", Conflict("a circle"))
    assert not await office.give_up(given_up.correlation_id or "", Conflict("again"))
    with pytest.raises(Conflict, match="a circle"):
        await requests[0]
    assert (await office.receive("b")).content["number"] == 1
    letters = [(letter.message.id, letter.reason) for letter in office.dead_letters.letters()]
    assert letters == [(given_up.id, DeadLetterReason.EXPIRED)]
    requests[1].cancel()
