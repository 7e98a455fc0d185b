import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zejzl_ray.bus.course import RedeliveryOptions
from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.bus.redelivery import DueMail, Redelivery
from zejzl_ray.errors import InvalidInput

OPTIONS = RedeliveryOptions(
    first_delay_s=1,
    max_delay_s=8,
    asks_after_s=30,
    asks_at_most_every_s=100,
    max_deliveries=2,
    give_up_after_s=1000,
)
NOTHING = DueMail({}, {})


def schedule(count: int = 1, deadline_s: float | None = None, agent: str = "a") -> Redelivery:
    redelivery = Redelivery(OPTIONS, roll=lambda: 0.5)  # no jitter
    for sequence in range(1, count + 1):
        redelivery.track(sequence, agent, deadline_s, 0)
    return redelivery


def sends(redelivery: Redelivery, now_s: float, limit: int = 1000) -> dict[str, list[int]]:
    due = redelivery.due(now_s, limit)
    assert due.dead == {}
    return due.send


def next_due_s(redelivery: Redelivery, now_s: float, most_s: float = 10_000) -> float:
    """Return the time, in whole seconds, at which something is due again."""
    while redelivery.due(now_s) == NOTHING:
        now_s += 1
        assert now_s < most_s
    return now_s


def test_new_mail_is_due_at_once_and_once() -> None:
    redelivery = schedule(3)
    was_ready = redelivery.has_ready
    assert sends(redelivery, 0) == {"a": [1, 2, 3]}
    assert (was_ready, redelivery.has_ready) == (True, False)
    assert redelivery.due(29) == NOTHING
    assert len(redelivery) == 3


def test_one_that_is_not_taken_is_tried_again_after_waits_that_grow_up_to_a_bound() -> None:
    redelivery = schedule()
    redelivery.due(0)
    now_s, waits = 0.0, []
    for _ in range(6):
        redelivery.refused([1, 99], now_s)
        later_s = next_due_s(redelivery, now_s)
        waits.append(later_s - now_s)
        now_s = later_s
    assert waits == [1, 2, 4, 8, 8, 8]


@given(st.floats(0, 1, exclude_max=True))
def test_waits_differ_by_the_jitter_and_no_more(roll: float) -> None:
    redelivery = Redelivery(OPTIONS, roll=lambda: roll)
    redelivery.track(1, "a", None, 0)
    redelivery.due(0)
    redelivery.refused([1], 0)
    assert redelivery.due(0.79) == NOTHING
    assert sends(redelivery, 1.21) == {"a": [1]}


def test_mail_behind_one_that_was_not_taken_waits_and_follows_in_its_order() -> None:
    redelivery = schedule(4)
    assert sends(redelivery, 0, 2) == {"a": [1, 2]}
    redelivery.refused([1], 0)
    redelivery.refused([2], 0)  # the same burst: not a failure more
    redelivery.track(5, "a", None, 0)
    redelivery.track(6, "b", None, 0)
    assert sends(redelivery, 0) == {"b": [6]}
    assert sends(redelivery, 1) == {"a": [1]}
    assert redelivery.due(2) == NOTHING
    redelivery.taken([1], "h", "1", 2)
    assert sends(redelivery, 2) == {"a": [2, 3, 4, 5]}


def test_a_tried_message_that_is_settled_lets_the_others_go_on() -> None:
    redelivery = schedule(2)
    redelivery.due(0)
    redelivery.unsent([1, 2], 0)
    assert sends(redelivery, 1) == {"a": [1]}
    redelivery.settle([1])
    assert sends(redelivery, 1) == {"a": [2]}


def test_a_try_that_is_never_answered_is_followed_by_the_next() -> None:
    redelivery = schedule(2)
    redelivery.due(0)
    redelivery.refused([1, 2], 0)
    assert sends(redelivery, 1) == {"a": [1]}
    assert redelivery.due(30) == NOTHING
    assert sends(redelivery, 31) == {"a": [1]}


def test_new_mail_for_a_receiver_that_takes_nothing_waits_for_the_next_try() -> None:
    redelivery = schedule(1)
    redelivery.due(0)
    redelivery.refused([1], 0)
    redelivery.settle([1])  # given up by hand; nothing is left
    redelivery.track(2, "a", None, 0)
    assert sends(redelivery, 0) == {"a": [2]}
    redelivery.taken([2], "h", "1", 0)
    redelivery.track(3, "a", None, 0)
    redelivery.due(0)
    redelivery.refused([3], 0)
    redelivery.settle([3])  # the other one is still out
    redelivery.track(4, "a", None, 0)
    assert redelivery.due(0.5) == NOTHING
    assert sends(redelivery, 1) == {"a": [4]}


def test_a_process_that_says_it_takes_messages_now_gets_them_at_once() -> None:
    redelivery = schedule(3)
    redelivery.due(0)
    redelivery.refused([1, 2, 3], 0)
    redelivery.welcome([1, 99], 0)
    assert sends(redelivery, 0) == {"a": [1, 2, 3]}
    redelivery.taken([1, 2, 3], "h", "1", 0)
    redelivery.welcome([2], 0)  # its mailbox was closed
    assert sends(redelivery, 0) == {"a": [2]}


def test_who_holds_a_message_is_asked_seldom_and_without_end() -> None:
    redelivery = schedule()
    redelivery.due(0)
    redelivery.taken([1, 99], "h", "1", 0)
    asked, now_s = 0, 0.0
    while now_s < 5000:  # far above give_up_after_s: it is held
        now_s = next_due_s(redelivery, now_s + 1)
        redelivery.carried([1, 99], "h")
        redelivery.taken([1], "h", "1", now_s)  # the same process: no delivery in vain
        asked += 1
    assert 40 <= asked <= 60
    redelivery.settle([1])
    assert redelivery.due(10_000) == NOTHING


def test_a_question_that_does_not_get_there_leaves_the_message_where_it_is() -> None:
    redelivery = schedule(2, deadline_s=40)
    redelivery.due(0)
    redelivery.taken([1, 2], "h", "1", 0)
    assert sends(redelivery, 30) == {"a": [1, 2]}
    redelivery.unsent([1, 2], 30)
    assert redelivery.due(50) == NOTHING  # above the deadline: it is held
    assert sends(redelivery, 60) == {"a": [1, 2]}
    redelivery.refused([1], 60)  # it does not hold it any more
    assert redelivery.due(60).dead == {1: DeadLetterReason.EXPIRED}


def test_a_question_is_the_try_where_nothing_else_waits() -> None:
    redelivery = schedule(2)
    redelivery.due(0)
    redelivery.taken([1], "h", "1", 0)
    redelivery.refused([2], 0)
    redelivery.settle([2])
    assert sends(redelivery, 30) == {"a": [1]}
    redelivery.unsent([1], 30)
    assert sends(redelivery, 60) == {"a": [1]}


def test_what_a_process_had_when_it_ended_is_due_at_once() -> None:
    redelivery = schedule(5)
    redelivery.due(0)
    redelivery.carried([1, 2, 4, 5], "h")
    redelivery.carried([3], "other")
    redelivery.taken([1, 2], "h", "1", 0)
    redelivery.taken([5], "h", "2", 0)
    assert redelivery.lost("h", 5, but_boot="2") == 2  # what is under way, the new one may have got
    assert sends(redelivery, 5) == {"a": [1, 2]}
    assert redelivery.lost("h", 6) == 2
    assert sends(redelivery, 6) == {"a": [4, 5]}


def test_the_end_of_a_process_that_was_tried_counts_as_a_failure() -> None:
    redelivery = schedule(2)
    redelivery.due(0)
    redelivery.refused([1, 2], 0)
    assert sends(redelivery, 1) == {"a": [1]}
    redelivery.carried([1], "h")
    redelivery.lost("h", 1)
    assert redelivery.due(2.9) == NOTHING
    assert sends(redelivery, 3) == {"a": [1]}


def test_only_the_process_that_has_a_message_may_tell_of_it() -> None:
    redelivery = schedule(3)
    redelivery.due(0)
    redelivery.carried([1, 2], "h")
    redelivery.taken([2], "h", "1", 0)
    assert redelivery.with_host([1, 2, 3, 99], "h") == [1, 2]
    assert redelivery.with_host([1, 2, 3], "other") == []


def test_an_answer_that_comes_late_is_heard() -> None:
    redelivery = schedule()
    redelivery.due(0)
    redelivery.unsent([1], 0)
    redelivery.taken([1], "h", "1", 0)
    assert redelivery.due(29) == NOTHING


def test_a_message_that_outlives_too_many_processes_is_given_up_with_that_reason() -> None:
    redelivery = schedule()
    for boot in ("1", "2"):
        assert sends(redelivery, 0) == {"a": [1]}
        redelivery.taken([1], "h", boot, 0)
        redelivery.lost("h", 0)
    assert redelivery.due(0).dead == {1: DeadLetterReason.NOT_ACKNOWLEDGED}
    assert len(redelivery) == 0


def test_a_process_that_was_only_out_of_reach_is_one_delivery() -> None:
    redelivery = schedule()
    for _ in range(10):
        assert sends(redelivery, 0) == {"a": [1]}
        redelivery.taken([1], "h", "1", 0)
        redelivery.lost("h", 0)
    assert sends(redelivery, 0) == {"a": [1]}


def test_a_deadline_counts_while_a_message_waits_and_not_while_it_is_out() -> None:
    redelivery = schedule(3, deadline_s=10)
    redelivery.due(0)
    redelivery.refused([1], 0)
    redelivery.taken([2], "h", "1", 0)
    assert redelivery.due(10).dead == {
        1: DeadLetterReason.EXPIRED
    }  # 3 is under way: it may be taken just now
    assert redelivery.due(25) == NOTHING
    redelivery.unsent([3], 25)
    redelivery.lost("h", 25)
    assert redelivery.due(26).dead == {2: DeadLetterReason.EXPIRED, 3: DeadLetterReason.EXPIRED}


def test_mail_without_a_deadline_is_given_up_after_a_long_time() -> None:
    redelivery = schedule()
    redelivery.due(0)
    redelivery.refused([1], 0)
    redelivery.due(990)
    redelivery.refused([1], 990)
    assert redelivery.due(1000).dead == {1: DeadLetterReason.UNREACHABLE}


def test_no_more_than_the_limit_is_sent_at_once_and_receivers_take_turns() -> None:
    redelivery = schedule(5)
    for sequence in (6, 7):
        redelivery.track(sequence, "b", None, 0)
    assert sends(redelivery, 0, 2) == {"a": [1, 2]}
    assert sends(redelivery, 0, 3) == {"b": [6, 7], "a": [3]}
    assert sends(redelivery, 0, 10) == {"a": [4, 5]}
    assert sends(redelivery, 0, 10) == {}


def test_what_is_settled_is_forgotten() -> None:
    redelivery = schedule(2)
    redelivery.settle([1, 1, 99])
    assert sends(redelivery, 0) == {"a": [2]}
    redelivery.settle([2])
    redelivery.taken([2], "h", "1", 0)
    redelivery.refused([2], 0)
    redelivery.unsent([2], 0)
    assert redelivery.due(10_000) == NOTHING
    assert not redelivery.has_ready


@pytest.mark.parametrize(
    "wrong", [{"first_delay_s": 0}, {"jitter_ratio": 1}, {"max_deliveries": 0}, {"give_up_after_s": -1}]
)
def test_options_that_would_send_without_end_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidInput, match="cannot be sent again"):
        RedeliveryOptions(**wrong)  # type: ignore[arg-type]  # one wrong value each


steps = st.tuples(
    st.sampled_from(["track", "taken", "refused", "unsent", "lost", "welcome", "settle", "due", "due"]),
    st.integers(1, 6),
)


@given(st.lists(steps, max_size=60))
def test_whatever_happens_everything_is_sent_in_order_or_given_up_in_the_end(
    history: list[tuple[str, int]],
) -> None:
    redelivery = Redelivery(OPTIONS, roll=lambda: 0.5)
    now_s, last, dead = 0.0, 0, 0
    settled: set[int] = set()
    for name, number in history:
        match name:
            case "track":
                last += 1
                redelivery.track(last, "ab"[number % 2], None if number > 2 else now_s + 20 * number, now_s)
            case "lost":
                redelivery.lost("hg"[number % 2], now_s)
            case "due":
                now_s += number - 1
                due = redelivery.due(now_s, number)
                dead += len(due.dead)
                for some in due.send.values():
                    assert some == sorted(some)
                    assert not set(some) & (due.dead.keys() | settled)
                    redelivery.carried(some, "hg"[number % 2])
            case "taken":
                redelivery.taken([number, number + 6], "hg"[number % 2], "1", now_s)
            case "settle":
                if 0 < number <= last:
                    settled.add(number)
                redelivery.settle([number])
            case _:
                getattr(redelivery, name)([number, number + 6], now_s)
        look_at_s = [course.look_at_s for course in redelivery._courses.values()]
        assert redelivery._look_at_s <= min(look_at_s, default=math.inf)
    for _ in range(200):  # a world in which everything is taken and settled
        due = redelivery.due(now_s)
        for some in due.send.values():
            redelivery.taken(some, "new", "1", now_s)
            redelivery.settle(some)
        now_s += 1
    assert len(redelivery) == 0
