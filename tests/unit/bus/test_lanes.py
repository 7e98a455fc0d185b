"""Whose mail is read next."""

from collections import Counter, defaultdict, deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zejzl_ray.bus.lanes import PATIENCE, FairLane, Lanes
from zejzl_ray.bus.message import HIGH, LOW, NORMAL, Message, MessagePriority

PRIORITIES = st.sampled_from(list(MessagePriority))
SENDERS = st.sampled_from(["p", "q", "r"])


def mail(sender: str, number: int, priority: MessagePriority = NORMAL) -> Message:
    return Message(sender, "b", "t", {"number": number}, priority, sent_at_s=float(number))


def numbers(messages: list[Message]) -> list[int]:
    return [message.content["number"] for message in messages]


def test_higher_priorities_are_read_first() -> None:
    lanes = Lanes()
    for number, priority in enumerate((LOW, HIGH, NORMAL)):
        lanes.push(mail("p", number, priority))
    assert numbers(list(lanes)) == [1, 2, 0]
    assert numbers(lanes.clear()) == [1, 2, 0]
    assert lanes.size == 0


def test_senders_of_one_priority_take_turns() -> None:
    lane = FairLane()
    for number in range(3):
        lane.push(mail("p", number))
    for number in range(10, 12):
        lane.push(mail("q", number))
    lane.push(mail("r", 20))
    assert numbers([lane.pop() for _ in range(6)]) == [0, 10, 20, 1, 11, 2]
    assert not lane


def test_one_sender_with_much_mail_does_not_keep_another_waiting() -> None:
    lanes = Lanes()
    for number in range(1000):
        lanes.push(mail("loud", number))
    lanes.push(mail("quiet", -1))
    assert -1 in numbers([lanes.pop() for _ in range(2)])


@pytest.mark.parametrize(("urgent", "waiting"), [(HIGH, LOW), (HIGH, NORMAL), (NORMAL, LOW)])
def test_mail_that_waits_is_read_after_63_more_urgent_messages(
    urgent: MessagePriority, waiting: MessagePriority
) -> None:
    lanes = Lanes()
    for number in range(200):
        lanes.push(mail("p", number, urgent))
    for number in range(3):
        lanes.push(mail("q", number, waiting))
    read = [lanes.pop().priority for _ in range(200)]
    assert [place for place, priority in enumerate(read) if priority is waiting] == [63, 127, 191]
    assert PATIENCE == 63


def test_low_mail_that_comes_after_others_were_dropped_has_not_waited_yet() -> None:
    lanes = Lanes()
    lanes.push(mail("q", 0, LOW))
    for number in range(80):
        lanes.push(mail("p", number, HIGH))
        if number < 70:
            lanes.pop()
            if not lanes._low:
                break
    else:
        raise AssertionError("the LOW message was not read")
    lanes.push(mail("q", 1, LOW))
    for _ in range(40):
        lanes.push(mail("p", 99, HIGH))
        assert lanes.pop().priority is HIGH
    assert lanes.drop_oldest_low() is not None
    lanes.push(mail("q", 2, LOW))
    for _ in range(40):
        lanes.push(mail("p", 99, HIGH))
        assert lanes.pop().priority is HIGH


def test_the_oldest_low_message_makes_room_whoever_sent_it() -> None:
    lanes = Lanes()
    assert lanes.drop_oldest_low() is None
    lanes.push(mail("p", 5, LOW))
    lanes.push(mail("q", 3, LOW))
    lanes.push(mail("q", 6, LOW))
    lanes.push(mail("q", 1, HIGH))
    dropped = [lanes.drop_oldest_low() for _ in range(4)]
    assert [each and each.content["number"] for each in dropped] == [3, 5, 6, None]
    assert lanes.size == 1


def test_what_was_taken_in_vain_comes_back_to_its_place_whatever_the_order_of_coming_back() -> None:
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        lanes = Lanes()
        for number in range(5):
            lanes.push(mail("p", number))
        taken = [lanes.pop() for _ in range(3)]
        for place in order:
            lanes.push_back(taken[place], place)
        assert numbers(lanes.clear()) == [0, 1, 2, 3, 4]


def test_what_came_back_and_was_read_leaves_no_trace() -> None:
    lanes = Lanes()
    lanes.push(mail("p", 0))
    lanes.push(mail("p", 1))
    lanes.push_back(lanes.pop(), 1)
    assert lanes.pop().content["number"] == 0
    lanes.push_back(mail("p", 7), 9)
    lanes.push(mail("p", 2))
    assert numbers(lanes.clear()) == [7, 1, 2]


def test_dropping_what_came_back_keeps_the_rest_in_order() -> None:
    lanes = Lanes()
    for number in range(3):
        lanes.push(mail("p", number, LOW))
    taken = [lanes.pop(), lanes.pop()]
    lanes.push_back(taken[1], 2)
    assert lanes.drop_oldest_low() is taken[1]
    lanes.push_back(taken[0], 1)
    assert numbers(lanes.clear()) == [0, 2]


def test_who_changes_the_sender_of_a_message_after_sending_it_breaks_nothing() -> None:
    lanes = Lanes()
    changed = mail("p", 0)
    lanes.push(changed)
    lanes.push(mail("q", 1))
    changed.from_agent = "q"
    assert numbers(lanes.clear()) == [0, 1]
    lanes.push(mail("p", 2))
    assert numbers(lanes.clear()) == [2]


@given(steps=st.lists(st.tuples(st.booleans(), SENDERS, PRIORITIES), max_size=300))
def test_nothing_is_lost_and_each_senders_mail_keeps_its_order(
    steps: list[tuple[bool, str, MessagePriority]],
) -> None:
    lanes = Lanes()
    waiting: dict[tuple[str, MessagePriority], deque[int]] = defaultdict(deque)
    for number, (is_push, sender, priority) in enumerate(steps):
        if is_push:
            lanes.push(mail(sender, number, priority))
            waiting[sender, priority].append(number)
        elif lanes.size:
            message = lanes.pop()
            assert message.content["number"] == waiting[message.from_agent, message.priority].popleft()
        assert lanes.size == sum(map(len, waiting.values()))


@given(steps=st.lists(st.tuples(SENDERS, PRIORITIES), min_size=100, max_size=400), lead=st.integers(1, 50))
def test_whoever_waits_is_read_at_the_latest_when_all_others_had_their_turns(
    steps: list[tuple[str, MessagePriority]], lead: int
) -> None:
    """A bound for everybody: no more than 64 rounds in which each sender of each priority may go once."""
    lanes = Lanes()
    read: Counter[tuple[str, MessagePriority]] = Counter()
    pushed: dict[int, int] = {}
    for number, (sender, priority) in enumerate(steps):
        lanes.push(mail(sender, number, priority))
        pushed[number] = sum(read.values())
        if number >= lead:
            message = lanes.pop()
            read[message.from_agent, message.priority] += 1
    first_low = next((number for number, (_, priority) in enumerate(steps) if priority is LOW), None)
    left = {message.content["number"] for message in lanes}
    if first_low is not None and first_low in left:
        assert sum(read.values()) - pushed[first_low] <= PATIENCE
