"""What waits for the trail: in order, bounded, and what did not fit is said."""

from hypothesis import given
from hypothesis import strategies as st

from zejzl_ray.auth.audit_fact import Fact, make_fact
from zejzl_ray.auth.audit_waiting import WaitingFacts, started


def fact(name: str) -> Fact:
    return make_fact(1.0, "denied", target=name)


def names(facts: list[Fact]) -> list[str]:
    return [each.target if each.kind == "denied" else f"{each.kind} {each.times}" for each in facts]


def test_facts_leave_in_the_order_in_which_they_came() -> None:
    waiting = WaitingFacts(10, 10)
    for name in "abc":
        waiting.add(fact(name))
    waiting.add_first(started(1.0))
    assert names(waiting.take(3, 2.0)) == ["started 1", "a", "b"]
    assert len(waiting) == 1
    assert names(waiting.take(3, 2.0)) == ["c"]
    assert waiting.take(3, 2.0) == []


def test_what_does_not_fit_is_counted_and_said_where_it_is_missing() -> None:
    waiting = WaitingFacts(2, 10)
    for name in "abcde":
        waiting.add(fact(name))
    assert len(waiting) == 2
    assert names(waiting.take(1, 2.0)) == ["a"]
    waiting.add(fact("f"))
    assert names(waiting.take(9, 2.0)) == ["b", "dropped 3", "f"]
    for name in "ghi":
        waiting.add(fact(name))
    assert names(waiting.take(9, 2.0)) == ["g", "h", "dropped 1"]


@given(steps=st.lists(st.one_of(st.integers(0, 9), st.none()), max_size=60), room=st.integers(1, 5))
def test_nothing_is_lost_without_being_counted(steps: list[int | None], room: int) -> None:
    waiting = WaitingFacts(room, 1)
    told, out = 0, []
    for step in steps:
        if step is None:
            waiting.add(fact(str(told)))
            told += 1
            assert len(waiting) <= room + 1
        else:
            out += waiting.take(step, 2.0)
    while left := waiting.take(100, 2.0):
        out += left
    expected = 0
    for each in out:
        if each.kind == "dropped":
            expected += each.times
        else:
            assert each.target == str(expected)
            expected += 1
    assert expected == told


def test_grants_are_counted_by_minute_and_written_when_it_is_over() -> None:
    waiting = WaitingFacts(10, 10)
    for _ in range(3):
        waiting.count_grant(2, "user:ada", "a.get")
    waiting.count_grant(2, "user:bob", "a.get")
    assert waiting.take(9, 179.9) == []
    waiting.count_grant(3, "user:ada", "a.get")
    found = waiting.take(9, 180.0)
    assert [(f.kind, f.subject, f.operation, f.times, f.details["from_s"]) for f in found] == [
        ("grants_counted", "user:ada", "a.get", 3, "120"),
        ("grants_counted", "user:bob", "a.get", 1, "120"),
    ]
    assert waiting.take(9, 200.0) == []
    assert [f.times for f in waiting.take(9, 200.0, is_last=True)] == [1]
    assert waiting.counters == 0


def test_counters_leave_in_groups_behind_the_facts() -> None:
    waiting = WaitingFacts(10, 10)
    for n in range(5):
        waiting.count_grant(1, f"user:u{n}", "a.get")
    waiting.add(fact("a"))
    assert [len(waiting.take(3, 200.0)) for _ in range(3)] == [3, 3, 0]


def test_grants_beyond_the_counters_are_counted_together() -> None:
    waiting = WaitingFacts(10, 2)
    for n in range(7):
        waiting.count_grant(1, f"user:u{n}", "a.get")
    assert waiting.counters == 2
    assert [(f.subject, f.times) for f in waiting.take(9, 200.0)] == [("user:u0", 1), ("user:u1", 1), ("", 5)]
