import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zejzl_ray.errors import InvalidInput
from zejzl_ray.resilience.degradations import (
    Degradation,
    Degradations,
    current_degradations,
    using_degradations,
)
from zejzl_ray.testing.clock import ManualClock


def test_a_declared_fallback_is_shown_as_healthy() -> None:
    book = Degradations(ManualClock(100.0))
    book.declare("summary")
    book.declare("summary")
    assert book.checks() == (Degradation("summary"),)
    assert book.in_use() == ()


def test_a_use_shows_since_when_how_often_and_why_last() -> None:
    clock = ManualClock(100.0)
    book = Degradations(clock)
    book.fell_back("summary", "first")
    clock.advance(5)
    book.fell_back("summary", "second")
    assert book.in_use() == (
        Degradation("summary", True, "second", since_at_s=100.0, last_at_s=105.0, uses=2),
    )


def test_recovery_clears_it_and_keeps_the_figures() -> None:
    clock = ManualClock(100.0)
    book = Degradations(clock)
    book.fell_back("summary", "why")
    clock.advance(1)
    book.recovered("summary")
    book.recovered("summary")
    book.recovered("never heard of")
    assert book.checks() == (Degradation("summary", False, "why", None, 100.0, uses=1, recoveries=1),)
    clock.advance(1)
    book.fell_back("summary", "again")
    assert book.in_use()[0].since_at_s == 102.0


def test_a_call_that_began_before_the_failure_clears_nothing() -> None:
    clock = ManualClock()
    book = Degradations(clock)
    started_s = book.monotonic_s()
    clock.advance(1)
    book.fell_back("summary", "why")
    book.recovered("summary", started_s)
    assert book.in_use()
    book.recovered("summary", book.monotonic_s())
    assert not book.in_use()


def test_the_quiet_one_is_forgotten_first_and_those_in_use_last() -> None:
    book = Degradations(ManualClock(), max_names=2)
    book.fell_back("in use", "why")
    book.declare("quiet")
    book.fell_back("new", "why")
    assert [known.name for known in book.checks()] == ["in use", "new"]
    book.fell_back("newer", "why")
    assert [known.name for known in book.checks()] == ["new", "newer"]
    assert book.forgotten == 2


@given(st.lists(st.tuples(st.sampled_from(["fall", "recover", "declare"]), st.integers(0, 9))))
def test_the_book_stays_bounded_and_says_what_a_simple_model_says(steps: list[tuple[str, int]]) -> None:
    book, model = Degradations(ManualClock(), max_names=10), dict[str, bool]()
    small = Degradations(ManualClock(), max_names=3)
    for step, number in steps:
        name = f"n{number}"
        for one in (book, small):
            if step == "fall":
                one.fell_back(name, "why")
            elif step == "recover":
                one.recovered(name)
            else:
                one.declare(name)
        if step == "fall":
            model[name] = True
        elif step == "declare":
            model.setdefault(name, False)
        elif name in model:
            model[name] = False
        assert {known.name: known.is_degraded for known in book.checks()} == model
        assert len(small.checks()) <= 3


def test_a_long_reason_is_cut() -> None:
    book = Degradations(ManualClock())
    book.fell_back("summary", "x" * 1000)
    assert len(book.checks()[0].reason) == 200


def test_a_book_without_room_is_refused() -> None:
    with pytest.raises(InvalidInput, match="max_names is 0"):
        Degradations(max_names=0)


async def test_each_agent_has_its_own_book_in_the_tasks_it_starts() -> None:
    books = [Degradations(), Degradations()]
    outside = current_degradations()

    async def work(name: str) -> None:
        current_degradations().fell_back(name, "why")

    for number, book in enumerate(books):
        with using_degradations(book) as used:
            assert used is book
            await asyncio.create_task(work(f"agent {number}"))
    assert [[known.name for known in book.checks()] for book in books] == [["agent 0"], ["agent 1"]]
    assert current_degradations() is outside
