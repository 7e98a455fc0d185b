"""The bus of one process: what it promises, and what it refuses at the sender."""

import asyncio
import itertools
from typing import Any

import pytest

from tests.unit.bus.virtual_time import clock, in_virtual_time, settle
from zejzl_ray.bus import local_mail, post_office
from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.bus.failures import FAILURE, failure_content
from zejzl_ray.bus.handling import Handling, current
from zejzl_ray.bus.mailbox import Overflow
from zejzl_ray.bus.message import HIGH, LOW, Guarantee, Message
from zejzl_ray.bus.options import BusOptions
from zejzl_ray.bus.post_office import PostOffice
from zejzl_ray.errors import (
    BusClosed,
    BusError,
    Conflict,
    HandlerFailed,
    InvalidInput,
    MailboxFull,
    RequestTimedOut,
    RevisionCompacted,
    UnknownAgent,
)


def office_of(*agents: str, **options: Any) -> PostOffice:
    office = PostOffice(clock=clock(), options=BusOptions(**options))
    for agent in agents:
        office.open_mailbox(agent)
    return office


def mail(number: int = 0, to: str = "b", sender: str = "a", **fields: Any) -> Message:
    return Message(sender, to, "task", {"number": number}, **fields)


async def read(office: PostOffice, agent: str = "b") -> list[int]:
    found = []
    while len(office.mailbox(agent)):
        found.append((await office.receive(agent, 0)).content["number"])
    return found


async def answer(office: PostOffice, agent: str = "b", content: dict[str, Any] | None = None) -> Message:
    request = await office.receive(agent)
    await office.respond(request, content or {"of": request.content})
    return request


# --- sending and receiving -------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_message_arrives_as_the_object_that_it_is_with_an_id() -> None:
    office = office_of("b")
    message = mail()
    message_id = await office.send(message)
    assert await office.receive("b") is message
    assert message.id == message_id != await office.send(mail())


@in_virtual_time
async def test_an_id_that_the_sender_gave_stays() -> None:
    office = office_of("b")
    assert await office.send(mail(id="mine")) == "mine"


@in_virtual_time
async def test_ten_thousand_messages_of_one_priority_come_in_the_order_of_sending() -> None:
    office = office_of("b")
    for number in range(10_000):
        await office.send(mail(number, timestamp=-float(number)))  # the sender's own time counts for nothing
    assert await read(office) == list(range(10_000))


@in_virtual_time
async def test_receive_with_no_time_takes_what_is_there_and_waits_for_nothing() -> None:
    office = office_of("b")
    await office.send(mail(1))
    assert (await office.receive("b", 0)).content == {"number": 1}
    with pytest.raises(RequestTimedOut):
        await office.receive("b", 0)
    assert asyncio.get_running_loop().time() == 0


@in_virtual_time
async def test_a_wait_without_a_limit_of_its_own_has_that_of_the_bus() -> None:
    office = office_of("b", default_timeout_s=7.0)
    with pytest.raises(RequestTimedOut, match="within 7 s"):
        await office.receive("b")
    assert asyncio.get_running_loop().time() == pytest.approx(7.0)


@in_virtual_time
async def test_mail_whose_deadline_is_over_is_a_dead_letter_and_does_not_make_the_wait_longer() -> None:
    office = office_of("b")

    async def send_expired() -> None:
        for number in itertools.count():
            await office.send(mail(number, deadline_at_s=office.clock.now_s() - 1))
            await asyncio.sleep(1.0)

    sending = asyncio.create_task(send_expired())
    with pytest.raises(RequestTimedOut):
        await office.receive("b", 4.5)
    assert asyncio.get_running_loop().time() == pytest.approx(4.5)
    assert office.dead_letters.counts() == {DeadLetterReason.EXPIRED: 5}
    assert office.dead_letters.letters()[0].detail == "nobody read it before its deadline"
    sending.cancel()


@in_virtual_time
async def test_a_sender_that_waits_for_room_has_the_time_that_its_message_has() -> None:
    office = office_of(default_timeout_s=9.0)
    office.open_mailbox("b", capacity=1, overflow=Overflow.WAIT)
    await office.send(mail())
    loop = asyncio.get_running_loop()
    with pytest.raises(MailboxFull):
        await office.send(mail(deadline_at_s=office.clock.now_s() + 2.0))
    assert loop.time() == pytest.approx(2.0)
    with pytest.raises(MailboxFull):
        await office.send(mail(deadline_at_s=office.clock.now_s() - 2.0))
    assert loop.time() == pytest.approx(2.0)
    with pytest.raises(MailboxFull):
        await office.send(mail())
    assert loop.time() == pytest.approx(11.0)
    assert office.sent == 1


@in_virtual_time
async def test_long_floods_let_others_have_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_mail, "YIELD_EVERY", 3)
    monkeypatch.setattr(post_office, "YIELD_EVERY", 3)
    office = office_of("b")
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    for _ in range(16):
        await office.send(mail())
    sending, turns = turns, 0
    for _ in range(16):
        await office.receive("b")
    assert (sending, turns) == (4, 4)
    task.cancel()


@in_virtual_time
async def test_a_receiver_that_is_cancelled_while_it_lets_others_go_first_loses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(local_mail, "YIELD_EVERY", 0)
    office = office_of("b")
    for number in range(3):
        await office.send(mail(number))
    receivers = [asyncio.create_task(office.receive("b")) for _ in range(2)]
    await asyncio.sleep(0)
    for receiver in receivers:
        receiver.cancel()
    await settle()
    monkeypatch.setattr(local_mail, "YIELD_EVERY", 63)
    assert await read(office) == [0, 1, 2]


@in_virtual_time
async def test_what_is_sent_while_something_is_handled_says_so_unless_it_says_something_else() -> None:
    office = office_of("b")
    cause = mail(id="cause", traceparent="00-aa-bb-01")
    token = current.set(Handling("x", 0, cause))
    await office.send(mail())
    await office.send(mail(caused_by="else", traceparent="00-cc-dd-01"))
    current.reset(token)
    first, second = await office.receive("b"), await office.receive("b")
    assert (first.caused_by, first.traceparent) == ("cause", "00-aa-bb-01")
    assert (second.caused_by, second.traceparent) == ("else", "00-cc-dd-01")


# --- bad input, at the sender ----------------------------------------------------------------------------------------


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


# --- requests --------------------------------------------------------------------------------------------------------


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


# --- to many ---------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_broadcast_reaches_all_but_the_sender_and_those_left_out_with_its_priority() -> None:
    office = office_of("a", "b", "c", "d")
    message = mail(1, to="all", priority=HIGH)
    assert await office.broadcast(message, ("c",)) == ["b", "d"]
    copies = [await office.receive(agent, 0) for agent in ("b", "d")]
    assert [copy.priority for copy in copies] == [HIGH, HIGH]
    assert copies[0].id != copies[1].id
    copies[0].content["number"] = 2
    assert copies[1].content == message.content == {"number": 1}
    assert len(office.mailbox("a")) == len(office.mailbox("c")) == 0
    assert office.sent == 2


@in_virtual_time
async def test_a_full_mailbox_keeps_nobody_else_waiting_for_a_broadcast() -> None:
    office = office_of("a")
    office.open_mailbox("full", capacity=1, overflow=Overflow.WAIT)
    office.open_mailbox("strict", capacity=1)
    office.open_mailbox("last")
    await office.send(mail(to="full"))
    await office.send(mail(to="strict"))
    assert await office.broadcast(mail()) == ["last"]
    assert asyncio.get_running_loop().time() == 0
    assert office.dead_letters.counts() == {DeadLetterReason.MAILBOX_FULL: 2}


@in_virtual_time
async def test_a_broadcast_of_a_wrong_message_is_refused_before_anybody_gets_it() -> None:
    office = office_of("a", "b")
    message = mail()
    message.content = "text"  # type: ignore[assignment] # wrong on purpose
    with pytest.raises(InvalidInput, match="content of a message is str"):
        await office.broadcast(message)
    assert len(office.mailbox("b")) == 0


@in_virtual_time
async def test_an_agent_that_leaves_while_a_broadcast_goes_out_misses_it_and_nobody_else_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(post_office, "YIELD_EVERY", 0)
    office = office_of("a", "b", "c", "d")
    broadcast = asyncio.create_task(office.broadcast(mail()))
    await asyncio.sleep(0)
    office.close_mailbox("c")
    office.open_mailbox("e")
    assert await broadcast == ["b", "d"]
    assert office.dead_letters.counts() == {DeadLetterReason.UNKNOWN_AGENT: 1}


@in_virtual_time
async def test_a_topic_reaches_those_who_subscribed_but_not_who_publishes() -> None:
    office = office_of("a", "b", "c")
    office.subscribe("a", "news.*")
    office.subscribe("b", "news.*")
    office.subscribe("b", "news.*")
    office.subscribe("c", "news.>")
    office.subscribe("c", "other")
    assert await office.publish("news.today", mail(3, to="all")) == 2
    assert (await office.receive("b", 0)).topic == "news.today"
    assert office.subscriptions("c") == ("news.>", "other")
    office.unsubscribe("c", "news.>")
    assert await office.publish("news.today", mail(4, to="all")) == 1
    assert await read(office, "c") == [3]
    with pytest.raises(InvalidInput):
        await office.publish("news.*", mail())


# --- looking ---------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_what_was_sent_can_be_looked_at_and_replayed() -> None:
    office = office_of("b", history_size=3)
    ids = [await office.send(mail(number)) for number in range(5)]
    assert [entry["to"] for entry in office.history(2)] == ["b", "b"]
    assert len(office.history()) == 3
    assert [message.content["number"] for message in office.replay(after_id=ids[2])] == [3, 4]
    with pytest.raises(RevisionCompacted):
        office.replay(after_id=ids[0])


@in_virtual_time
async def test_what_was_sent_lately_is_counted_to_a_second() -> None:
    office = office_of("b")
    for _ in range(10):
        await office.send(mail())
        await asyncio.sleep(1.0)
    assert office.sent_within(60) == 10
    assert office.sent_within(3.5) in (3, 4)
    await asyncio.sleep(120)
    assert office.sent_within(60) == 0


@in_virtual_time
async def test_everything_is_counted_once() -> None:
    office = office_of("a", "b")
    await office.send(mail(1, priority=LOW))
    await office.send(mail(2))
    await office.receive("b")
    request = asyncio.create_task(office.request(mail(3)))
    await settle()
    await office.receive("b")
    taken = await office.receive("b")
    assert taken.content == {"number": 1}
    office.close_mailbox("b")
    request.cancel()
    await settle()
    totals = office.figures.totals()
    assert (totals.sent, totals.received, totals.dead) == (3, 3, 0)
    assert office.figures.of("a", "task").sent == [0, 2, 1]
    assert office.links() == ()
    assert office.boot
    assert office.host == ""
