"""Mail between processes, case by case; ``test_linked_world`` has all of it at once."""

import asyncio
from collections.abc import Sequence

import pytest

from tests.unit.bus.linked_offices import Offices, note, read, reasons, rest, serve, two
from tests.unit.bus.virtual_time import clock, in_virtual_time
from zejzl_ray.bus import codec
from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.bus.mailbox import Mailbox, Overflow
from zejzl_ray.bus.message import HIGH, Message
from zejzl_ray.bus.ports import Outgoing
from zejzl_ray.bus.post_office import PostOffice
from zejzl_ray.errors import (
    InvalidInput,
    MailboxFull,
    MessageTooLarge,
    NotSerialisable,
    SenderRefused,
    UnknownAgent,
)

# --- there ------------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_lone_message_goes_at_once_and_a_flood_in_batches_as_large_as_a_call_is_long() -> None:
    offices, here, there = two()
    offices.wires["a"].delay_s = 0.01
    for number in range(500):
        await here.send(note(number, "reader"))
    assert await read(there, 500) == list(range(500))
    sizes = [len(codec.decode_batch(outgoing.batch)) for outgoing, _ in offices.wires["a"].calls]
    assert sum(sizes) == 500
    assert len(sizes) <= 4
    link = here.link("b")
    assert (link.messages, link.batches, link.has_mail, len(link)) == (500, len(sizes), False, 0)
    await offices.close()


@in_virtual_time
async def test_what_arrives_is_a_copy_with_all_that_was_said() -> None:
    offices, here, there = two()
    sent = note(
        1,
        "reader",
        priority=HIGH,
        metadata={"m": 1},
        traceparent="00-a-b-01",
        caused_by="x",
        correlation_id="c",
    )
    await here.send(sent)
    sent.content["number"] = 2
    got = await there.receive("reader", 5.0)
    assert got is not sent
    assert got.to_dict() == {**sent.to_dict(), "content": {"number": 1}}
    assert (got.id, got.traceparent, got.caused_by) == (sent.id, sent.traceparent, sent.caused_by)
    await offices.close()


@in_virtual_time
async def test_what_cannot_leave_this_process_is_an_error_at_the_sender() -> None:
    offices, here, _ = two(max_message_bytes=500)
    with pytest.raises(NotSerialisable, match="cannot leave this process"):
        await here.send(Message("writer", "reader", "note", {"x": object()}))
    with pytest.raises(NotSerialisable, match="no text"):
        await here.send(Message("writer", "reader", "note", {1: 2}))  # type: ignore[dict-item] # wrong on purpose
    with pytest.raises(MessageTooLarge, match=r"500 are allowed\. Send the name of a file"):
        await here.send(Message("writer", "reader", "note", {"x": "y" * 600}))
    with pytest.raises(MessageTooLarge):
        await here.request(Message("writer", "reader", "note", {"x": "y" * 600}))
    assert (here.sent, len(here.pending), reasons(here)) == (0, 0, {})
    await here.send(note(1, "reader"))
    await offices.close()


@in_virtual_time
async def test_an_agent_that_no_process_holds_is_unknown_and_all_names_are_told() -> None:
    offices, here, _ = two()
    with pytest.raises(UnknownAgent) as caught:
        await here.send(note(1, "nobody"))
    assert caught.value.details["available_agents"] == ["reader", "writer"]
    offices.hosts["ghost"] = "a"  # the directory is late: it is not here any more
    with pytest.raises(UnknownAgent):
        await here.send(note(1, "ghost"))
    alone = PostOffice(clock=clock(), host="c", directory=offices)
    with pytest.raises(UnknownAgent):
        await alone.send(note(1, "reader"))
    await offices.close()


@in_virtual_time
async def test_a_message_that_nobody_wanted_any_more_when_it_arrived_comes_back_as_expired() -> None:
    offices, here, _ = two()
    offices.wires["a"].delay_s = 1.0
    await here.send(note(1, "reader", deadline_at_s=here.clock.now_s() + 0.5))
    await asyncio.sleep(3.0)
    assert reasons(here) == {DeadLetterReason.EXPIRED: 1}
    assert here.dead_letters.letters()[0].detail == "its deadline passed under way"
    await offices.close()


@in_virtual_time
async def test_a_full_mailbox_elsewhere_is_told_by_a_dead_letter() -> None:
    offices, here, there = two()
    offices.open("b", "small", capacity=1)
    for number in range(3):
        await here.send(note(number, "small"))
    await asyncio.sleep(1.0)
    assert reasons(here) == {DeadLetterReason.MAILBOX_FULL: 2}
    assert await read(there, 1, "small") == [0]
    await offices.close()


@in_virtual_time
async def test_senders_wait_where_too_much_waits_for_one_process_and_a_broadcast_does_not() -> None:
    class Listening(Offices):
        def subscribers(self, topic: str) -> Sequence[tuple[str, str]]:
            return [("reader", "b"), ("writer", "a"), ("here", "b")]

    offices = Listening("a", "b", link_capacity=2, batch_messages=1, default_timeout_s=3.0)
    for host, agent in (("a", "writer"), ("b", "reader"), ("a", "here")):
        offices.open(host, agent)
    here = offices.offices["a"]
    offices.wires["a"].delay_s = 1.0
    loop = asyncio.get_running_loop()
    for number in range(6):  # two under way, two wait, and those as well in the end
        await here.send(note(number, "reader"))
    assert loop.time() > 0
    begun_s = loop.time()
    assert await here.publish("news", note(9, "all")) == 0
    assert loop.time() == begun_s
    assert reasons(here) == {DeadLetterReason.MAILBOX_FULL: 1}
    assert await read(offices.offices["b"], 6) == [0, 1, 2, 3, 4, 5]
    assert await here.publish("news", note(10, "all")) == 1
    got = await offices.offices["b"].receive("reader", 5.0)
    assert (got.topic, got.content) == ("news", {"number": 10})
    offices.wires["a"].delay_s = 100.0
    for number in range(4):
        await here.send(note(number, "reader"))
        await rest()
    with pytest.raises(MailboxFull, match="The way to b is full"):
        await here.send(note(4, "reader"))
    await offices.close()


@in_virtual_time
async def test_a_process_that_writes_in_a_name_it_does_not_speak_for_is_refused() -> None:
    class Strict(Offices):
        def why_refused(self, from_agent: str, box: Mailbox | None) -> str:
            return "" if from_agent == "writer" else f"the host does not speak for {from_agent}"

    offices = Strict("a", "b")
    offices.open("a", "writer")
    offices.open("a", "liar")
    offices.open("b", "reader")
    here, there = offices.offices["a"], offices.offices["b"]
    await here.send(note(1, "reader", "liar"))
    await here.send(note(2, "reader"))
    with pytest.raises(SenderRefused, match="the host does not speak for liar") as caught:
        await here.request(note(3, "reader", "liar"), 5.0)
    assert caught.value.details["reason"] == "refused"
    assert await read(there, 1) == [2]
    assert len(there.mailbox("reader")) == 0
    await offices.close()


@in_virtual_time
async def test_each_sender_and_each_mailbox_of_a_batch_is_asked_for_and_a_row_of_them_once() -> None:
    asked: list[tuple[str, str]] = []

    class Asking(Offices):
        def why_refused(self, from_agent: str, box: Mailbox | None) -> str:
            asked.append((from_agent, "" if box is None else box.agent))
            return "" if from_agent == "writer" and box is not None else "refused"

    offices = Asking("a", "b")
    offices.open("a", "writer")
    for agent in ("one", "two", "three"):
        offices.open("b", agent, overflow=Overflow.WAIT if agent == "three" else Overflow.REJECT)
    there = offices.offices["b"]
    sent = [
        ("", ""), ("writer", "one"), ("writer", "one"), ("liar", "one"), ("writer", "one"), ("writer", "two"),
        ("writer", "three"), ("", "three"), ("writer", "three"), ("writer", "three"),
    ]  # fmt: skip
    mail = [Message(sender, to, "note", {"number": number}) for number, (sender, to) in enumerate(sent)]
    batch = codec.join([codec.encode(message) for message in mail])
    taken = await there.accept("a", Outgoing(boot="x", number=1, batch=batch), offices)
    assert len(taken.refused) == 3
    assert asked == [
        ("", ""), ("writer", "one"), ("liar", "one"), ("writer", "one"), ("writer", "two"), ("writer", "three"),
        ("", "three"), ("writer", "three"), ("writer", "three"),
    ]  # fmt: skip
    assert await read(there, 3, "one") == [1, 2, 4]
    await offices.close()


@in_virtual_time
async def test_another_process_cannot_answer_for_an_agent_that_was_not_asked() -> None:
    offices, here, there = two()
    offices.open("b", "meddler")
    request = asyncio.create_task(here.request(note(1, "reader"), 5.0))
    taken = await there.receive("reader", 5.0)
    forged = Message(
        "meddler",
        "writer",
        "note_response",
        {"number": 6},
        correlation_id=taken.correlation_id,
        is_reply=True,
    )
    await there.send(forged)
    await asyncio.sleep(0.1)
    assert not request.done()
    await there.respond(taken, {"true": 1})
    assert (await request).content == {"true": 1}
    assert await read(here, 1, "writer") == [6]
    await offices.close()


@in_virtual_time
async def test_bytes_that_are_no_batch_are_refused_and_one_bad_message_alone() -> None:
    offices, _, there = two()
    with pytest.raises(InvalidInput, match="no batch of messages"):
        await there.accept("a", Outgoing("boot", 1, b"rubbish"), offices)
    bad = note(1, "reader", id="bad")
    bad.correlation_id = 5  # type: ignore[assignment] # as a process of another version might
    good = codec.encode(note(2, "reader", id="good"))
    batch = codec.join([codec._encode(bad), good])
    delivered = await there.accept("a", Outgoing("boot", 1, batch), offices)
    assert [(refused.message_id, refused.reason) for refused in delivered.refused] == [
        ("bad", DeadLetterReason.NOT_SERIALISABLE)
    ]
    assert await read(there, 1) == [2]
    await offices.close()


@in_virtual_time
async def test_mail_that_is_kept_is_refused_by_a_process_that_keeps_none() -> None:
    offices, _, there = two()
    batch = codec.join([codec.encode(note(1, "reader", id="kept", sequence=4))])
    delivered = await there.accept("a", Outgoing("boot", 1, batch), offices)
    assert [refused.detail for refused in delivered.refused] == ["this process keeps no mail"]
    await offices.close()


# --- and back ---------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_reply_goes_back_with_the_answer_to_the_call_that_brought_the_request() -> None:
    offices, here, there = two()
    there.link("a").can_go_back = frozenset({"reader"})
    server = asyncio.create_task(serve(there, "reader"))
    for number in range(3):
        assert (await here.request(note(number, "reader"), 5.0)).content == {"of": number}
    assert len(offices.wires["a"].calls) == 3
    assert offices.wires["b"].calls == []
    server.cancel()
    await offices.close()


@in_virtual_time
async def test_an_answer_does_not_wait_long_for_a_reply_which_then_comes_by_a_call_of_its_own() -> None:
    offices, here, there = two()
    there.link("a").can_go_back = frozenset({"reader"})
    server = asyncio.create_task(serve(there, "reader", after_s=1.0))
    assert (await here.request(note(1, "reader"), 5.0)).content == {"of": 1}
    assert offices.wires["a"].calls[0][1] == pytest.approx(0.002)
    assert len(offices.wires["b"].calls) == 1
    server.cancel()
    await offices.close()


@in_virtual_time
async def test_mail_of_an_agent_whose_proof_was_not_shown_does_not_go_back_with_an_answer() -> None:
    offices, here, there = two()
    offices.open("b", "other")
    there.link("a").can_go_back = frozenset({"reader"})
    request = asyncio.create_task(here.request(note(1, "reader"), 5.0))
    taken = await there.receive("reader", 5.0)
    await there.send(note(7, "writer", "other"))
    await there.respond(taken, {"number": 8})
    assert (await request).content == {"number": 8}
    assert await read(here, 1, "writer") == [7]
    assert len(offices.wires["b"].calls) >= 1
    await offices.close()


@in_virtual_time
async def test_a_second_call_ends_the_waiting_of_the_first_for_a_reply() -> None:
    offices, here, there = two()
    there.link("a").can_go_back = frozenset({"reader"})
    first = asyncio.create_task(here.request(note(1, "reader"), 5.0))
    await rest()
    second = asyncio.create_task(here.request(note(2, "reader"), 5.0))
    server = asyncio.create_task(serve(there, "reader"))
    assert [(await each).content for each in (first, second)] == [{"of": 1}, {"of": 2}]
    server.cancel()
    await offices.close()


@in_virtual_time
async def test_a_call_that_is_cut_while_its_answer_waits_leaves_no_mail_behind() -> None:
    offices, here, there = two()
    link = there.link("a")
    link.can_go_back = frozenset({"reader"})
    waiting = asyncio.create_task(link.linger(50.0))
    await rest()
    await there.send(note(1, "writer", "reader"))  # it counts on that answer
    waiting.cancel()
    assert await read(here, 1, "writer") == [1]
    await offices.close()


@in_virtual_time
async def test_mail_that_finds_a_batch_landing_while_an_answer_waits_goes_on_with_that_answer() -> None:
    offices, here, there = two()
    offices.open("b", "other")
    link = there.link("a")
    link.can_go_back = frozenset({"reader"})
    offices.wires["b"].delay_s = 0.5
    await there.send(note(1, "writer", "other"))  # under way
    await rest()
    waiting = asyncio.create_task(link.linger(50.0))
    await rest()
    await there.send(note(2, "writer", "other"))
    await asyncio.sleep(1.0)
    assert waiting.done()
    link.answer(1, ())
    assert await read(here, 2, "writer") == [1, 2]
    await offices.close()


@in_virtual_time
async def test_what_goes_back_and_is_not_taken_is_told_with_the_next_call() -> None:
    offices, here, there = two()
    offices.hosts["gone"] = "a"
    there.link("a").can_go_back = frozenset({"reader"})

    async def write_to_one_that_has_left() -> None:
        request = await there.receive("reader", 5.0)
        await there.send(note(5, "gone", "reader"))
        await there.respond(request, {})

    server = asyncio.create_task(write_to_one_that_has_left())
    await here.request(note(1, "reader"), 5.0)
    await asyncio.sleep(10.0)
    assert reasons(there) == {DeadLetterReason.UNKNOWN_AGENT: 1}
    await server
    await offices.close()


@in_virtual_time
async def test_a_request_to_another_process_that_was_given_up_is_not_handled_any_more_there() -> None:
    offices, here, there = two()
    offices.open("a", "other")
    requests = [
        asyncio.create_task(here.request(note(number, "reader", sender)))
        for number, sender in enumerate(("writer", "other"))
    ]
    await asyncio.sleep(1)
    first = next(pending.message for pending in here.pending if pending.message.from_agent == "writer")
    assert await here.give_up(first.correlation_id or "", InvalidInput("a circle"))
    with pytest.raises(InvalidInput, match="a circle"):
        await requests[0]
    await asyncio.sleep(1)
    assert await read(there, 1) == [1]
    assert reasons(there) == {DeadLetterReason.EXPIRED: 1}
    assert reasons(here) == {}
    requests[1].cancel()
    await offices.close()
