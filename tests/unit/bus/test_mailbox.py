"""One mailbox: who gets what, who waits for room, and what happens to those who give up."""

import asyncio
from typing import Any

import pytest

from tests.unit.bus.virtual_time import in_virtual_time, settle
from zejzl_ray.bus.mailbox import Mailbox, Overflow
from zejzl_ray.bus.message import HIGH, LOW, Message, MessagePriority
from zejzl_ray.errors import BusClosed, InvalidInput, MailboxFull, RequestTimedOut


def mail(number: int, priority: MessagePriority = MessagePriority.NORMAL, sender: str = "s") -> Message:
    return Message(sender, "a", "t", {"number": number}, priority, sent_at_s=float(number))


def box_of(capacity: int = 2, overflow: Overflow = Overflow.WAIT) -> Mailbox:
    return Mailbox("a", capacity=capacity, overflow=overflow)


def numbers(messages: list[Message]) -> list[int]:
    return [message.content["number"] for message in messages]


async def put_with_room(box: Mailbox, message: Message, timeout_s: float = 10.0) -> None:
    """As the bus does it."""
    if box.makes_wait:
        await box.room(message, timeout_s)
    box.put(message)


def taken_from(box: Mailbox) -> int:
    message = box.take()
    assert message is not None
    number: int = message.content["number"]
    return number


@pytest.mark.parametrize("capacity", [0, -1, 1.5, True, "9", None])
def test_a_capacity_that_is_none_is_refused(capacity: Any) -> None:
    with pytest.raises(InvalidInput, match="has a capacity of"):
        Mailbox("a", capacity=capacity)


def test_a_policy_that_is_none_is_refused_and_those_that_are_named() -> None:
    with pytest.raises(InvalidInput, match="Use one of wait, reject, drop_oldest_low"):
        Mailbox("a", overflow="explode")  # type: ignore[arg-type] # as a setting might say


def test_a_full_mailbox_that_rejects_says_whose_it_is_and_how_full() -> None:
    box = box_of(1, Overflow.REJECT)
    box.put(mail(0))
    with pytest.raises(MailboxFull, match=r"The mailbox of a is full: 1 messages. Send later") as caught:
        box.put(mail(1))
    assert caught.value.details == {"to_agent": "a", "from_agent": "s", "capacity": 1}
    assert len(box) == 1


def test_low_mail_makes_room_where_that_is_the_policy() -> None:
    box = box_of(2, Overflow.DROP_OLDEST_LOW)
    assert box.put(mail(0, LOW)) is None
    assert box.put(mail(1, HIGH)) is None
    dropped = box.put(mail(2, HIGH))
    assert dropped is not None
    assert dropped.content["number"] == 0
    with pytest.raises(MailboxFull):
        box.put(mail(3, HIGH))
    assert numbers(list(box)) == [1, 2]


@in_virtual_time
async def test_a_receiver_that_waits_gets_the_message_at_once_and_several_get_them_in_turn() -> None:
    box = box_of()
    first, second = (asyncio.create_task(box.wait(5.0)) for _ in range(2))
    await settle()
    waits = [box.has_receiver]
    box.put(mail(0))
    waits.append(box.has_receiver)
    box.put(mail(1))
    waits.append(box.has_receiver)
    assert waits == [True, True, False]
    assert len(box) == 0
    assert numbers([await first, await second]) == [0, 1]


@in_virtual_time
async def test_a_wait_ends_when_its_time_is_over_and_takes_nothing_with_it() -> None:
    box = box_of()
    with pytest.raises(RequestTimedOut, match="No mail for a within 3 s") as caught:
        await box.wait(3)
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.details == {"agent": "a", "timeout_s": 3}
    box.put(mail(0))
    assert taken_from(box) == 0


@pytest.mark.parametrize("limit_s", ["5", None, float("nan"), [1]])
async def test_a_time_limit_that_is_none_is_refused_and_leaves_nobody_waiting(limit_s: Any) -> None:
    box = box_of()
    with pytest.raises(InvalidInput, match=r"A time limit is .* Give seconds"):
        await box.wait(limit_s)
    assert not box.has_receiver
    box.put(mail(0))
    assert len(box) == 1


@in_virtual_time
async def test_receivers_that_are_cancelled_while_they_get_messages_give_them_back_in_order() -> None:
    box = box_of(10)
    receivers = [asyncio.create_task(box.wait(5.0)) for _ in range(3)]
    await settle()
    for number in range(4):
        box.put(mail(number))
    for receiver in receivers:
        receiver.cancel()
    await settle()
    assert numbers(list(box)) == [0, 1, 2, 3]


@in_virtual_time
async def test_what_is_given_back_goes_to_another_receiver_that_waits() -> None:
    box = box_of()
    first, second = (asyncio.create_task(box.wait(5.0)) for _ in range(2))
    await settle()
    box.put(mail(0))
    first.cancel()
    assert (await second).content["number"] == 0


@in_virtual_time
async def test_a_receiver_that_is_cancelled_as_its_time_is_over_leaves_no_error_behind() -> None:
    box = box_of()
    receiver = asyncio.create_task(box.wait(1.0))
    asyncio.get_running_loop().call_at(1.0, lambda: asyncio.get_running_loop().call_soon(receiver.cancel))
    with pytest.raises((asyncio.CancelledError, RequestTimedOut)):
        await receiver
    assert not box.has_receiver


@in_virtual_time
async def test_senders_that_wait_get_room_in_the_order_in_which_they_came() -> None:
    box = box_of(1)
    box.put(mail(0))
    senders = [asyncio.create_task(put_with_room(box, mail(number))) for number in (1, 2, 3)]
    await settle()
    read = []
    for _ in range(4):
        read.append(taken_from(box))
        late = asyncio.create_task(put_with_room(box, mail(9)))  # comes while the place is still empty
        late.cancel()
        await settle()
    assert read == [0, 1, 2, 3]
    await asyncio.gather(*senders)


@in_virtual_time
async def test_one_that_comes_while_others_wait_does_not_overtake_them() -> None:
    box = box_of(1)
    box.put(mail(0))
    first = asyncio.create_task(put_with_room(box, mail(1)))
    await settle()
    assert taken_from(box) == 0
    assert box.is_full  # the place is the first one's, though it has not run yet
    second = asyncio.create_task(put_with_room(box, mail(2)))
    await settle()
    assert taken_from(box) == 1
    await settle()
    assert taken_from(box) == 2
    await asyncio.gather(first, second)


@in_virtual_time
async def test_all_who_wait_for_room_get_on_when_a_receiver_takes_mail_past_the_box() -> None:
    """A message that is handed to a receiver takes no place, so the next sender has one."""
    box = box_of(1)
    box.put(mail(0))
    senders = [asyncio.create_task(put_with_room(box, mail(number), 1000.0)) for number in (1, 2)]
    await settle()

    async def read_two() -> list[int]:
        return [taken_from(box), (await box.wait(5.0)).content["number"]]

    assert await read_two() == [0, 1]
    await settle()
    assert all(sender.done() for sender in senders)
    assert taken_from(box) == 2


@in_virtual_time
async def test_a_sender_waits_for_room_as_long_as_it_may() -> None:
    box = box_of(1)
    box.put(mail(0))
    loop = asyncio.get_running_loop()
    with pytest.raises(MailboxFull):
        await box.room(mail(1), 3.0)
    assert loop.time() == pytest.approx(3.0)
    assert taken_from(box) == 0
    assert not box.is_full


@in_virtual_time
async def test_a_sender_that_gives_up_lets_the_next_one_have_its_place() -> None:
    box = box_of(1)
    box.put(mail(0))
    first, second = (asyncio.create_task(put_with_room(box, mail(number))) for number in (1, 2))
    await settle()
    assert taken_from(box) == 0
    first.cancel()  # it had a place already
    await settle()
    assert taken_from(box) == 2
    await second


@in_virtual_time
async def test_a_sender_that_gives_up_before_it_had_a_place_is_forgotten() -> None:
    box = box_of(1)
    box.put(mail(0))
    sender = asyncio.create_task(put_with_room(box, mail(1)))
    await settle()
    sender.cancel()
    await settle()
    assert taken_from(box) == 0
    assert not box.is_full


@in_virtual_time
async def test_a_place_that_gets_free_as_time_runs_out_is_kept_for_nobody() -> None:
    box = box_of(1)
    box.put(mail(0))
    loop = asyncio.get_running_loop()
    sender = asyncio.create_task(put_with_room(box, mail(1), 1.0))
    await settle()
    loop.call_at(1.0, lambda: loop.call_soon(box.take))
    with pytest.raises(MailboxFull):
        await sender
    await settle()
    assert len(box) == 0
    assert not box.is_full


@in_virtual_time
async def test_mail_that_is_put_back_may_take_the_place_of_a_sender_that_then_waits_on_as_the_first() -> None:
    box = box_of(1)
    box.put(mail(0))
    first, second = (asyncio.create_task(put_with_room(box, mail(number))) for number in (1, 2))
    await settle()
    message = box.take()
    assert message is not None
    box.put_back(message, box.taken)
    await settle()
    assert numbers(list(box)) == [0]
    for number in range(3):
        assert taken_from(box) == number
        await settle()
    await asyncio.gather(first, second)


@in_virtual_time
async def test_emptying_a_mailbox_lets_those_go_on_who_wait_for_room() -> None:
    box = box_of(2)
    for number in range(2):
        box.put(mail(number))
    senders = [asyncio.create_task(put_with_room(box, mail(number))) for number in (2, 3, 4)]
    await settle()
    assert numbers(box.clear()) == [0, 1]
    await settle()
    assert numbers(list(box)) == [2, 3]
    assert [sender.done() for sender in senders] == [True, True, False]
    box.clear()
    await asyncio.gather(*senders)


@in_virtual_time
async def test_closing_wakes_everybody_with_an_error_and_returns_what_was_in_it() -> None:
    full, empty = box_of(2), box_of(2)
    full.put(mail(0, LOW))
    full.put(mail(1, HIGH))
    sender = asyncio.create_task(full.room(mail(2), 10.0))
    receiver = asyncio.create_task(empty.wait(10.0))
    await settle()
    assert numbers(full.close()) == [1, 0]
    assert empty.close() == []
    for waiting in (sender, receiver):
        with pytest.raises(BusClosed, match="The mailbox of a was closed"):
            await waiting


@in_virtual_time
async def test_a_sender_that_had_a_place_when_the_mailbox_was_closed_does_not_lose_its_message_there() -> (
    None
):
    box = box_of(1)
    box.put(mail(0))
    sender = asyncio.create_task(put_with_room(box, mail(1)))
    await settle()
    box.take()
    assert box.close() == []
    with pytest.raises(BusClosed):
        await sender


@in_virtual_time
async def test_what_comes_back_after_closing_goes_to_whom_it_may_concern() -> None:
    box = box_of()
    receiver = asyncio.create_task(box.wait(5.0))
    await settle()
    box.put(mail(0))
    late: list[Message] = []
    box.close(late.append)
    receiver.cancel()
    await settle()
    assert numbers(late) == [0]
    box.close()
    box.put_back(mail(1), 1)  # nobody wants to know
    assert len(box) == 0


@in_virtual_time
async def test_a_sender_that_gives_up_after_closing_changes_nothing() -> None:
    box = box_of(1)
    box.put(mail(0))
    sender = asyncio.create_task(box.room(mail(1), 5.0))
    await settle()
    box.take()
    box.close()
    sender.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sender
    assert len(box) == 0
