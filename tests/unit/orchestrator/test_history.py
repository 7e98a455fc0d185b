import pytest
from hypothesis import given
from hypothesis import strategies as st

from zejzl_ray.errors import RevisionCompacted
from zejzl_ray.orchestrator.changes import Change
from zejzl_ray.orchestrator.history import History, LogSpan


def changes(first: int, count: int) -> list[Change]:
    return [
        Change("agent_updated", f"A{revision % 3}", revision, 0.0, "", None, None)
        for revision in range(first, first + count)
    ]


def filled(*counts: int, length: int = 10) -> tuple[History, int]:
    history, revision = History(length), 0
    for index, count in enumerate(counts, 1):
        through = history.trim_through(count)
        history.add(LogSpan(index, count), changes(revision + 1, count))
        history.trim(through)
        revision += count
        history.validate()
    return history, revision


def test_changes_come_in_order_after_a_revision() -> None:
    history, revision = filled(3, 2)
    assert [change.revision for change in history.after(2, 2, revision)] == [3, 4]
    assert [change.revision for change in history.after(0, 100, revision)] == [1, 2, 3, 4, 5]
    assert list(history.after(5, 10, revision)) == []


def test_history_of_one_agent_is_newest_first() -> None:
    history, _ = filled(7)
    assert [change.revision for change in history.newest_first("A1", None, 10)] == [7, 4, 1]
    assert [change.revision for change in history.newest_first("A1", 7, 1)] == [4]
    assert [change.revision for change in history.newest_first(None, None, 2)] == [7, 6]
    assert history.newest_first("unknown", None, 10) == []


def test_what_is_no_longer_kept_is_said_so() -> None:
    history, revision = filled(*[1] * 20)
    oldest = history.oldest_revision(revision)
    assert oldest == 11
    assert [change.revision for change in history.after(10, 1, revision)] == [11]
    with pytest.raises(RevisionCompacted, match="oldest is 11"):
        history.after(9, 1, revision)
    assert history.after(0, 1, revision)[0].revision == 11


def test_a_revision_from_the_future_is_refused() -> None:
    history, revision = filled(3)
    with pytest.raises(RevisionCompacted, match="never reached"):
        history.after(4, 1, revision)


def test_a_bulk_entry_is_dropped_as_a_whole_or_not_at_all() -> None:
    history, revision = filled(15, 5)
    assert history.oldest_revision(revision) == 1
    history, revision = filled(15, 10)
    assert history.oldest_revision(revision) == 16


def test_an_empty_history_starts_after_the_current_revision() -> None:
    assert History(10).oldest_revision(7) == 8
    with pytest.raises(RevisionCompacted):
        History(10).after(3, 10, 7)


@given(st.lists(st.integers(1, 25), max_size=30))
def test_at_least_the_length_is_kept_and_not_much_more_than_two_bulks(counts: list[int]) -> None:
    history, revision = filled(*counts)
    assert len(history) >= min(revision, 10)
    assert len(history) <= 10 + 1 + 2 * 25
