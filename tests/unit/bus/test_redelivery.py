import pytest
from hypothesis import given
from hypothesis import strategies as st

from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.bus.redelivery import DueMail, Redelivery, RedeliveryOptions
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


def test_new_mail_is_due_at_once_and_once() -> None:
    redelivery = schedule(3)
    assert redelivery.next_at_s() == 0
    assert sends(redelivery, 0) == {"a": [1, 2, 3]}
    assert redelivery.due(29) == NOTHING
    assert len(redelivery) == 3


def test_mail_that_the_caller_sends_itself_is_asked_about_later() -> None:
    redelivery = Redelivery(OPTIONS, roll=lambda: 0.5)
    redelivery.track(1, "a", None, 0, is_under_way=True)
    assert redelivery.next_at_s() == 30
    assert redelivery.due(29) == NOTHING
    assert sends(redelivery, 30) == {"a": [1]}


def test_what_failed_is_sent_again_after_waits_that_grow_up_to_a_bound() -> None:
    redelivery = schedule()
    now_s, waits = 0.0, []
    for _ in range(6):
        assert sends(redelivery, now_s) == {"a": [1]}
        redelivery.failed([1, 99], now_s)
        next_s = redelivery.next_at_s()
        assert next_s is not None
        assert redelivery.due(next_s - 0.01) == NOTHING
        waits.append(next_s - now_s)
        now_s = next_s
    assert waits == sorted(waits)
    assert waits[-1] == 8


@given(st.floats(0, 1, exclude_max=True))
def test_waits_differ_by_the_jitter_and_no_more(roll: float) -> None:
    redelivery = Redelivery(OPTIONS, roll=lambda: roll)
    redelivery.track(1, "a", None, 0)
    redelivery.failed([1], 0)
    next_s = redelivery.next_at_s()
    assert next_s is not None
    redelivery.due(0)
    redelivery.failed([1], 0)
    wait_s = redelivery.next_at_s()
    assert wait_s is not None
    assert 0.8 <= wait_s <= 8 * 1.2


def test_who_holds_a_message_is_asked_seldom_and_without_end() -> None:
    redelivery = schedule()
    redelivery.due(0)
    redelivery.sent([1, 99], "h/1", 0)
    asked, now_s = 0, 0.0
    while now_s < 5000:  # far above give_up_after_s: it is held
        now_s = redelivery.next_at_s() or 0
        if sends(redelivery, now_s):
            redelivery.sent([1], "h/1", now_s)  # the same process: no delivery in vain
            asked += 1
    assert 40 <= asked <= 60
    redelivery.settle([1])
    assert redelivery.next_at_s() is None


def test_what_a_process_held_when_it_ended_is_due_at_once() -> None:
    redelivery = schedule(3)
    redelivery.due(0)
    redelivery.sent([1, 2], "h/1", 0)
    redelivery.sent([3], "h/2", 0)
    assert redelivery.place_lost("h/1", 5) == 2
    assert sends(redelivery, 5) == {"a": [1, 2]}


def test_a_message_that_outlives_too_many_processes_is_given_up_with_that_reason() -> None:
    redelivery = schedule()
    for boot in ("h/1", "h/2"):
        assert sends(redelivery, 0) == {"a": [1]}
        redelivery.sent([1], boot, 0)
        redelivery.place_lost(boot, 0)
    assert redelivery.due(0).dead == {1: DeadLetterReason.NOT_ACKNOWLEDGED}
    assert len(redelivery) == 0


def test_a_deadline_counts_while_nobody_holds_the_message() -> None:
    redelivery = schedule(2, deadline_s=10)
    redelivery.due(0)
    redelivery.failed([1], 0)
    redelivery.sent([2], "h/1", 0)
    assert redelivery.due(10).dead == {1: DeadLetterReason.EXPIRED}
    assert redelivery.due(25) == NOTHING
    redelivery.place_lost("h/1", 25)
    assert redelivery.due(25).dead == {2: DeadLetterReason.EXPIRED}


def test_nothing_is_sent_to_an_agent_that_is_nowhere_and_deadlines_count_on() -> None:
    redelivery = schedule(1, deadline_s=50)
    redelivery.track(2, "a", None, 0)
    redelivery.track(3, "b", None, 0)
    redelivery.receiver_away("a")
    redelivery.receiver_away("unknown")
    assert sends(redelivery, 0) == {"b": [3]}
    assert redelivery.next_at_s() == 30
    redelivery.settle([3])
    assert redelivery.next_at_s() == 50
    assert redelivery.due(50).dead == {1: DeadLetterReason.EXPIRED}
    assert redelivery.next_at_s() == 1000
    assert redelivery.due(1000).dead == {2: DeadLetterReason.UNREACHABLE}


def test_all_that_waits_for_an_agent_is_due_in_its_order_when_it_is_found() -> None:
    redelivery = schedule(5)
    redelivery.due(0)
    redelivery.failed([1, 3], 0)
    redelivery.sent([2], "h/1", 0)
    redelivery.receiver_away("a")
    redelivery.track(6, "a", None, 1)
    assert redelivery.due(3) == NOTHING
    redelivery.receiver_found("a", 4)
    redelivery.receiver_found("unknown", 4)
    assert sends(redelivery, 4) == {"a": [1, 3, 4, 5, 6]}


def test_everything_for_an_agent_that_moved_is_sent_to_its_new_place() -> None:
    redelivery = schedule(3)
    redelivery.due(0)
    redelivery.sent([1, 2, 3], "h/1", 0)
    redelivery.settle([2])
    redelivery.agent_moved("a", 5)
    redelivery.agent_moved("unknown", 5)
    assert sends(redelivery, 5) == {"a": [1, 3]}


def test_no_more_than_the_limit_is_sent_at_once_and_receivers_take_turns() -> None:
    redelivery = schedule(5)
    for sequence in (6, 7):
        redelivery.track(sequence, "b", None, 0)
    assert sends(redelivery, 0, 2) == {"a": [1, 2]}
    assert sends(redelivery, 0, 3) == {"b": [6, 7], "a": [3]}
    assert sends(redelivery, 0, 10) == {"a": [4, 5]}
    assert sends(redelivery, 0, 10) == {}
    assert redelivery.next_at_s() == 30


def test_what_is_settled_is_forgotten() -> None:
    redelivery = schedule(2)
    redelivery.settle([1, 1, 99])
    assert sends(redelivery, 0) == {"a": [2]}
    redelivery.settle([2])
    redelivery.sent([2], "h/1", 0)
    redelivery.failed([2], 0)
    assert redelivery.due(10_000) == NOTHING
    assert redelivery.next_at_s() is None


@pytest.mark.parametrize(
    "wrong", [{"first_delay_s": 0}, {"jitter_ratio": 1}, {"max_deliveries": 0}, {"give_up_after_s": -1}]
)
def test_options_that_would_send_without_end_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidInput, match="cannot be sent again"):
        RedeliveryOptions(**wrong)  # type: ignore[arg-type]  # one wrong value each


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["sent", "failed", "lost", "away", "found", "moved", "settle", "wait"]),
            st.integers(1, 6),
        ),
        max_size=40,
    )
)
def test_next_at_s_never_comes_late(history: list[tuple[str, int]]) -> None:
    redelivery = schedule(3, deadline_s=40)
    for sequence in (4, 5, 6):
        redelivery.track(sequence, "b", None, 0)
    now_s = 0.0
    for name, number in history:
        match name:
            case "sent":
                redelivery.sent([number], f"h/{number % 2}", now_s)
            case "failed":
                redelivery.failed([number], now_s)
            case "lost":
                redelivery.place_lost(f"h/{number % 2}", now_s)
            case "away":
                redelivery.receiver_away("a" if number % 2 else "b")
            case "found":
                redelivery.receiver_found("a" if number % 2 else "b", now_s)
            case "moved":
                redelivery.agent_moved("a" if number % 2 else "b", now_s)
            case "settle":
                redelivery.settle([number])
            case _:
                next_s = redelivery.next_at_s()
                if next_s is None or next_s > now_s + number:
                    now_s += number
                    # Looking at every message, as if the bound were not there, finds nothing either.
                    for receiver in redelivery._receivers.values():
                        receiver.look_at_s = 0
                    assert redelivery.due(now_s) == NOTHING
                else:
                    now_s += number
                    due = redelivery.due(now_s)
                    assert len(redelivery) <= 6
                    assert not {sequence for some in due.send.values() for sequence in some} & due.dead.keys()
