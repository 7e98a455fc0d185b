import asyncio
from pathlib import Path

import pytest

from tests.unit.bus.durable_offices import ACKS, Process, Wire, World, mail, numbers
from zejzl_ray.bus.course import RedeliveryOptions
from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.bus.durable_mail import DurableMail
from zejzl_ray.bus.handling import Handling
from zejzl_ray.bus.mailbox import Overflow
from zejzl_ray.bus.message import Guarantee, Message, MessagePriority
from zejzl_ray.bus.ports import News, Refused
from zejzl_ray.bus.post_office import PostOffice
from zejzl_ray.clock import SystemClock
from zejzl_ray.errors import (
    BusClosed,
    BusError,
    InvalidInput,
    NotSerialisable,
    RequestTimedOut,
    SettingsInvalid,
    StaleEpoch,
    StoreUnavailable,
    UnknownAgent,
)
from zejzl_ray.store import MemoryState, MemoryStore, Store, open_store
from zejzl_ray.testing import ManualClock


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that was started anew does not wait for batches that its predecessor got."""
    monkeypatch.setattr("zejzl_ray.bus.in_order._PATIENCE_S", 0)


async def pair(**options: object) -> tuple[World, Process, Process]:
    """Return a world with writer on host a, reader on host b."""
    world = World()
    a = await world.start("a", "writer", **options)
    b = await world.start("b", "reader", **options)
    return world, a, b


async def delivered(world: World, seconds: int = 6) -> None:
    """Let mail go its way; the first of an agent waits until its inbox is open."""
    await world.rest()
    for _ in range(seconds):
        await world.go_on()


# --- all is well ---


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


# --- processes end ---


async def test_a_receiver_that_ended_before_it_handled_a_message_gets_it_when_it_is_back() -> None:
    world, a, b = await pair()
    await a.office.send(mail(1))
    await delivered(world)
    world.kill("b")
    b = await world.start("b", "reader")
    await delivered(world)
    message = await b.take()
    await b.ack(message)
    await world.rest()
    assert a.unsettled == 0
    assert await b.take_all() == []


async def test_a_receiver_that_ended_between_handling_and_acknowledging_gets_it_once_more() -> None:
    world, a, b = await pair()
    await a.office.send(mail(1))
    await delivered(world)
    assert numbers(await b.take_all()) == [1]
    world.kill("b")
    b = await world.start("b", "reader")
    await delivered(world)
    assert numbers(await b.take_all()) == [1]


async def test_a_receiver_that_ended_before_it_told_the_sender_does_not_get_it_again() -> None:
    world, a, b = await pair()
    await a.office.send(mail(1))
    await delivered(world)
    message = await b.take()
    world.faults["b", "a"] = "cut"
    await b.ack(message)
    await world.rest()
    assert a.unsettled == 1
    world.kill("b")
    b = await world.start("b", "reader")
    await delivered(world)
    assert await b.take_all() == []
    assert a.unsettled == 0


async def test_a_receiver_that_came_back_unnoticed_is_sent_what_its_old_process_held() -> None:
    world, a, b = await pair()
    await a.office.send(mail(1))
    await delivered(world)
    world.kill("b", is_noticed=False)
    b = await world.start("b", "reader")
    await a.office.send(mail(2))  # its delivery tells of the new process
    await delivered(world)
    assert sorted(numbers(await b.take_all())) == [1, 2]


async def test_a_receiver_that_ended_unnoticed_is_asked_after_a_while() -> None:
    world, a, b = await pair()
    await a.office.send(mail(1))
    await delivered(world)
    world.kill("b", is_noticed=False)
    b = await world.start("b", "reader")
    await world.go_on(20)
    assert await b.take_all() == []
    await world.go_on(10)
    await delivered(world)
    assert numbers(await b.take_all()) == [1]


async def test_a_sender_that_ended_after_send_has_its_mail_delivered_when_it_is_back() -> None:
    world, a, b = await pair()
    world.cut.add("b")
    for number in range(5):
        await a.office.send(mail(number))
    world.kill("a")
    world.cut.clear()
    a = await world.start("a", "writer")
    await delivered(world)
    messages = await b.take_all()
    assert numbers(messages) == [0, 1, 2, 3, 4]
    for message in messages:
        await b.ack(message)
    await world.rest()
    assert a.unsettled == 0


async def test_a_sender_that_ended_while_its_mail_was_handled_causes_no_second_delivery() -> None:
    world, a, b = await pair()
    await a.office.send(mail(1))
    await delivered(world)
    message = await b.take()
    world.kill("a")
    a = await world.start("a", "writer")
    await delivered(world)
    assert await b.take_all() == []
    await b.ack(message)
    await world.rest()
    assert a.unsettled == 0


async def test_an_answer_that_is_lost_causes_no_second_delivery() -> None:
    world, a, b = await pair()
    await a.office.send(mail(1))
    await delivered(world)
    world.faults["a", "b"] = "answer"
    await a.office.send(mail(2))
    await delivered(world)
    messages = await b.take_all()
    assert numbers(messages) == [1, 2]
    for message in messages:
        await b.ack(message)
    await world.rest()
    assert a.unsettled == 0


async def test_news_that_were_not_heard_are_told_again() -> None:
    world, a, b = await pair()
    await a.office.send(mail(1))
    await delivered(world)
    world.faults["b", "a"] = "cut"
    await b.ack(await b.take())
    await world.rest()
    assert a.unsettled == 1
    await world.go_on()
    assert a.unsettled == 0


async def test_an_emptied_store_begins_an_outbox_of_its_own_and_loses_no_new_mail() -> None:
    world, a, b = await pair()
    await a.office.send(mail(1))
    await delivered(world)
    await b.ack(await b.take())
    await world.rest()
    world.kill("a")
    del world.states["outbox.a"]
    a = await world.start("a", "writer")
    await a.office.send(mail(2))
    await delivered(world)
    assert numbers(await b.take_all()) == [2]


async def test_acknowledgements_of_an_outbox_that_is_no_more_are_left_out() -> None:
    world = World()
    a = await world.start("a", "writer", "reader")
    await a.office.send(mail(1))
    await delivered(world)
    a.mail._settled("a~gone", (1,))
    assert a.unsettled == 1
    assert "a" not in {link.host for link in a.office.links()}


# --- mailboxes and agents ---


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


# --- deadlines, refusals ---


async def test_mail_whose_deadline_passes_before_anybody_takes_it_is_a_dead_letter() -> None:
    world, a, _b = await pair()
    world.cut.add("b")
    await a.office.send(mail(1, deadline_at_s=world.clock.now_s() + 5))
    await delivered(world, 8)
    await a.flush()
    assert a.totals() == {"expired": 1}
    assert a.office.dead_letters.counts() == {DeadLetterReason.EXPIRED: 1}


async def test_mail_that_expires_in_a_mailbox_is_told_to_its_sender() -> None:
    world, a, b = await pair()
    await a.office.send(mail(1, deadline_at_s=world.clock.now_s() + 10))
    await delivered(world)
    await world.go_on(10)
    assert await b.take_all() == []
    await world.rest()
    await a.flush()
    assert a.totals() == {"expired": 1}
    assert a.office.dead_letters.letters()[0].detail == "nobody read it before its deadline"


async def test_mail_that_arrives_after_its_deadline_is_refused_and_one_that_is_held_is_not() -> None:
    world, a, b = await pair()
    await a.office.send(mail(1, deadline_at_s=world.clock.now_s() + 10))
    await delivered(world)
    message = await b.take()
    await world.go_on(30)  # it is handled all the time; the sender asks
    await world.go_on(30)
    assert a.unsettled == 1
    await b.ack(message)
    await world.rest()
    assert a.unsettled == 0
    late = mail(2, id="late", sequence=99, deadline_at_s=1.0, expires_s=0.0)
    assert a.mail.outbox is not None
    refused = b.mail.arrived("a", a.mail.outbox.origin, late)
    assert refused is not None
    assert refused.reason is DeadLetterReason.EXPIRED


async def test_a_sender_without_the_scope_gets_a_dead_letter_that_says_refused() -> None:
    world, a, b = await pair()
    world.why_not["writer"] = "writer lacks the scope mail:agents:write"
    await a.office.send(mail(1))
    await delivered(world)
    assert await b.take_all() == []
    await a.flush()
    assert a.totals() == {"refused": 1}
    assert "lacks the scope" in a.office.dead_letters.letters()[0].detail


async def test_mail_of_a_process_that_is_not_let_in_for_a_while_waits() -> None:
    world, a, b = await pair()
    world.faults["a", "b"] = "not let in"
    await a.office.send(mail(1))
    await a.office.send(Message("writer", "reader", "plain", {}))
    await delivered(world)
    assert [message.message_type for message in await b.take_all()] == ["task"]
    assert a.office.dead_letters.counts() == {DeadLetterReason.REFUSED: 1}


async def test_a_message_too_far_ahead_of_what_is_open_waits() -> None:
    world, a, b = await pair()
    await a.office.send(mail(1))
    await delivered(world)
    assert a.mail.outbox is not None
    refused = b.mail.arrived("a", a.mail.outbox.origin, mail(2, id="far", sequence=2_000_000))
    assert refused is not None
    assert refused.reason is DeadLetterReason.MAILBOX_FULL


async def test_mail_that_is_settled_while_other_mail_is_put_is_left_out() -> None:
    world = World()
    a = await world.start("a", "writer")
    a.open_mailbox("reader", capacity=1, overflow=Overflow.DROP_OLDEST_LOW)
    await a.inboxes.load("reader")
    outbox = a.mail.outbox
    assert outbox is not None
    await a.office.send(mail(1, priority=MessagePriority.LOW))
    await world.rest()
    await a.office.send(mail(2))
    a.mail._sender._put(outbox, "reader", [2, 1])  # as if the first were asked about just now
    assert outbox.pending() == [2]


async def test_closing_before_and_after_everything_is_safe() -> None:
    world = World()
    world.is_store_there = False
    a = await world.start("a", "writer", "reader")
    await a.mail.close()
    world.is_store_there = True
    await a.mail.open()
    await a.mail.open()
    await a.office.send(mail(1, deadline_at_s=world.clock.now_s() + 10))
    await delivered(world)
    await a.mail.close()
    await world.go_on(10)
    assert await a.take_all() == []  # it has expired; there is no inbox to note it in
    await a.mail.close()
    await a.office.close()


async def test_an_outbox_that_cannot_be_opened_is_tried_again_and_logged_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("zejzl_ray.bus.durable_sender._RETRY_S", 0)
    world = World()
    world.is_store_there = False
    a = await world.start("a")
    opening = asyncio.create_task(a.mail.open())
    await world.rest()
    assert a.mail.fault == "no store"
    world.is_store_there = True
    await opening
    assert a.mail.fault == ""
    assert "".join(capsys.readouterr()).count("cannot be opened") == 1
    await a.mail.close()


async def test_closing_the_mailbox_of_one_agent_leaves_the_others_alone() -> None:
    world, a, b = await pair()
    b.open_mailbox("other")
    for to in ("reader", "other"):
        await a.office.send(mail(1, to=to))
    await delivered(world)
    b.office.close_mailbox("reader")
    message = await b.take("other")
    await b.ack(message)
    await delivered(world)
    assert a.unsettled == 1


async def test_a_process_that_keeps_no_mail_refuses_it() -> None:
    world, a, b = await pair()
    b.office.local.durable = None
    await a.office.send(mail(1))
    await delivered(world)
    await a.flush()
    assert a.totals() == {"refused": 1}


async def test_a_receiver_that_is_nowhere_for_too_long_makes_its_mail_dead_letters() -> None:
    world, a, b = await pair(redelivery=RedeliveryOptions(give_up_after_s=60))
    b.office.close_mailbox("reader")
    await a.office.send(mail(1))
    await delivered(world)
    await world.go_on(60)
    await a.flush()
    assert a.totals() == {"unreachable": 1}


async def test_a_message_that_ends_every_process_is_given_up() -> None:
    world, a, _b = await pair(redelivery=RedeliveryOptions(first_delay_s=1, max_deliveries=2))
    await a.office.send(mail(1))
    for _ in range(2):
        await delivered(world)
        world.kill("b")
        await world.start("b", "reader")
    await delivered(world)
    await a.flush()
    assert a.totals() == {"not_acknowledged": 1}


async def test_another_process_may_settle_only_what_it_has() -> None:
    world, a, _b = await pair()
    await a.office.send(mail(1))
    await delivered(world)
    assert a.mail.outbox is not None
    origin = a.mail.outbox.origin
    rejected = ((1, DeadLetterReason.REFUSED, "no"),)
    a.mail.hear("c", News(settled={origin: (1,)}, rejected={origin: rejected}, welcome={origin: (1,)}))
    assert a.unsettled == 1


async def test_another_process_may_not_speak_for_an_outbox_that_is_not_its_own() -> None:
    _world, a, b = await pair()
    assert a.mail.outbox is not None
    b.mail.hear("c", News(origin=a.mail.outbox.origin, oldest={"reader": 1000}))
    refused = b.mail.arrived("c", a.mail.outbox.origin, mail(1, id="x", sequence=1))
    assert refused is not None
    assert refused.reason is DeadLetterReason.REFUSED


# --- acknowledging ---


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
        "nobody read it before its deadline",
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


# --- sending ---


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


# --- life ---


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
