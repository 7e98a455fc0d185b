import asyncio
from typing import Any, ClassVar

import pytest

from zejzl_ray.commands.group_writer import GroupWriter
from zejzl_ray.commands.record_journal import RecordJournal
from zejzl_ray.commands.records import Record, RecordDraft
from zejzl_ray.errors import ServiceUnavailable, StaleEpoch, StoreError, StoreUnavailable
from zejzl_ray.store import Put
from zejzl_ray.store.memory import MemoryState, MemoryStore
from zejzl_ray.testing import ManualClock


class Note(Record):
    KIND: ClassVar[str] = "note"

    text: str


class Other(Record):
    KIND: ClassVar[str] = "note2"  # a name that begins like another one

    text: str


class Store(MemoryStore):
    lose = ""
    is_hanging = False

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.late: list[tuple[Any, Any]] = []

    async def commit(self, *args: Any, **kwargs: Any) -> None:
        if self.is_hanging:
            await asyncio.Event().wait()
        if self.lose == "late":
            self.late = [(args, kwargs)]
            raise StoreUnavailable("lost")
        if self.lose != "before":
            await super().commit(*args, **kwargs)
        if self.lose:
            raise StoreUnavailable("lost")


class Bench:
    def __init__(self, state: MemoryState | None = None, clock: ManualClock | None = None) -> None:
        self.clock = clock or ManualClock()
        self.state = state or MemoryState()
        self.store = Store(clock=self.clock, state=self.state)
        self.committed: list[list[str]] = []
        self.reloads = 0
        self.journal: RecordJournal[RecordDraft] = RecordJournal(
            self.store,
            self.clock,
            (Note, Other),
            RecordDraft,
            on_commit=self._committed,
            on_reload=self._reloaded,
            commit_timeout_s=0.01,
            max_batch_bytes=100,
        )
        self.writer: GroupWriter[RecordDraft] = GroupWriter(self.journal, max_queue=10, max_batch=10)

    def _committed(self, draft: RecordDraft) -> None:
        self.committed.append([key for key, _ in draft.all(Note)])

    def _reloaded(self) -> None:
        self.reloads += 1

    async def put(self, key: str, text: str = "text", until_s: float | None = None) -> None:
        await self.writer.submit(lambda draft: draft.put(key, Note(text=text), until_s), 5.0)

    def get(self, key: str) -> Note | None:
        return self.journal.records.get(Note, key, self.clock.now_s())


async def test_what_is_committed_is_there_after_a_restart() -> None:
    bench = Bench()
    await bench.journal.open()
    await bench.put("a")
    await bench.put("b")
    await bench.writer.submit(lambda draft: draft.delete(Note, "a"), 5.0)
    again = Bench(bench.state, bench.clock)
    await again.journal.open()
    assert again.get("a") is None
    assert again.get("b") == Note(text="text")
    assert again.journal.epoch == bench.journal.epoch + 1
    await again.put("c")
    assert [key for key, _ in again.journal.records.all(Note, 0.0)] == ["b", "c"]


async def test_a_record_expires_at_the_same_moment_after_a_restart() -> None:
    bench = Bench()
    await bench.journal.open()
    await bench.put("a", until_s=bench.clock.now_s() + 10.5)
    again = Bench(bench.state, bench.clock)
    await again.journal.open()
    bench.clock.advance(10.4)
    assert again.get("a") is not None
    bench.clock.advance(0.2)
    assert again.get("a") is None


async def test_more_records_than_one_page_are_loaded_each_under_its_kind() -> None:
    bench = Bench()
    await bench.journal.open()

    def many(draft: RecordDraft) -> None:
        for number in range(2500):
            draft.put(f"{number:05}", Note(text="n"))
        draft.put("other", Other(text="o"))

    await bench.writer.submit(many, 5.0)
    again = Bench(bench.state)
    await again.journal.open()
    assert again.journal.records.count(Note) == 2500
    assert again.journal.records.count(Other) == 1


async def test_a_commit_whose_answer_is_lost_is_found_by_the_next_one() -> None:
    bench = Bench()
    await bench.journal.open()
    bench.store.lose = "after"
    with pytest.raises(StoreUnavailable):
        await bench.put("a")
    assert bench.journal.is_in_doubt
    assert bench.journal.fault == "lost"
    assert bench.get("a") is None
    bench.store.lose = ""
    await bench.put("b")
    assert bench.get("a") is not None
    assert bench.reloads == 2
    assert (bench.journal.fault, bench.journal.is_in_doubt) == ("", False)


async def test_a_commit_that_did_not_happen_is_not_found() -> None:
    bench = Bench()
    await bench.journal.open()
    bench.store.lose = "before"
    with pytest.raises(StoreUnavailable):
        await bench.put("a")
    bench.store.lose = ""
    await bench.put("b")
    assert bench.get("a") is None
    assert bench.get("b") is not None


async def test_nobody_is_answered_by_what_the_store_never_acknowledged() -> None:
    bench = Bench()
    await bench.journal.open()
    bench.store.lose = "after"  # it is written there, and perhaps nowhere else
    with pytest.raises(StoreUnavailable):
        await bench.put("a")
    with pytest.raises(StoreUnavailable):
        await bench.writer.submit(lambda draft: draft.get(Note, "a"), 1)
    bench.store.lose = ""
    assert await bench.writer.submit(lambda draft: draft.get(Note, "a"), 1) is not None


async def test_a_commit_that_arrives_late_is_noticed_and_the_next_one_is_decided_again() -> None:
    bench = Bench()
    await bench.journal.open()
    bench.store.lose = "late"
    with pytest.raises(StoreUnavailable):
        await bench.put("a", "late")
    bench.store.lose = ""
    seen: list[Note | None] = []

    async def arrive() -> None:
        args, kwargs = bench.store.late.pop()
        await MemoryStore.commit(bench.store, *args, **kwargs)

    def decide(draft: RecordDraft) -> None:
        seen.append(draft.get(Note, "a"))
        draft.put("b", Note(text="b"))

    # It lands after the records were read again and before the next commit.
    original = bench.journal.begin

    def begin() -> RecordDraft:
        if bench.store.late:
            arriving = arrive()
            with pytest.raises(StopIteration):
                arriving.send(None)
        return original()

    bench.journal.begin = begin  # type: ignore[method-assign]  # the moment that matters
    await bench.writer.submit(decide, 5.0)
    assert seen == [None, Note(text="late")]
    assert bench.get("a") == Note(text="late")


async def test_a_store_that_hangs_leaves_the_commit_in_doubt() -> None:
    bench = Bench()
    await bench.journal.open()
    bench.store.is_hanging = True
    with pytest.raises(StoreUnavailable, match=r"did not finish a commit within 0\.01 s"):
        await bench.put("a")
    assert bench.journal.is_in_doubt


async def test_a_store_that_hangs_is_named_at_the_start() -> None:
    bench = Bench()

    async def hang() -> int:
        await asyncio.Event().wait()
        return 0

    bench.store.take_epoch = hang  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable, match="did not give an epoch"):
        await bench.journal.open()


async def test_a_store_that_is_away_while_loading_is_remembered() -> None:
    bench = Bench()
    await bench.journal.open()
    bench.store.lose = "before"
    with pytest.raises(StoreUnavailable):
        await bench.put("a")
    bench.state.is_reachable = False
    with pytest.raises(StoreUnavailable, match="not reachable"):
        await bench.put("b")
    assert "not reachable" in bench.journal.fault


async def test_a_writer_that_was_replaced_stops() -> None:
    bench = Bench()
    await bench.journal.open()
    await Bench(bench.state).journal.open()
    with pytest.raises(ServiceUnavailable, match="taken over"):
        await bench.put("a")
    assert bench.journal.is_fenced


async def test_a_record_of_a_newer_version_is_named_and_not_quoted() -> None:
    bench = Bench()
    await bench.store.commit(
        [Put("note/a", b'\n{"text": "secret", "new": 1}')], epoch=await bench.store.take_epoch()
    )
    with pytest.raises(StoreError, match="note/a cannot be read") as caught:
        await bench.journal.open()
    assert "secret" not in str(caught.value)
    assert "note/a" in bench.journal.fault


async def test_a_draft_without_changes_is_not_stored_and_still_announced() -> None:
    bench = Bench()
    await bench.journal.open()
    before = bench.state.commits
    await bench.writer.submit(lambda draft: None, 5.0)
    assert bench.state.commits == before
    assert bench.committed == [[]]


async def test_a_large_draft_takes_no_further_command() -> None:
    bench = Bench()
    await bench.journal.open()
    await asyncio.gather(*(bench.put(key, "x" * 60) for key in "abcd"))
    assert bench.committed == [["a", "b"], ["a", "b", "c", "d"]]


async def test_somebody_who_stumbles_over_the_news_undoes_nothing() -> None:
    bench = Bench()
    await bench.journal.open()

    def stumble(draft: RecordDraft) -> None:
        raise ZeroDivisionError

    bench.journal._on_commit = stumble
    await bench.put("a")
    assert bench.get("a") is not None


async def test_what_is_added_at_the_seal_belongs_to_the_commit() -> None:
    bench = Bench()
    await bench.journal.open()
    bench.journal._seal = lambda draft: draft.put("sealed", Note(text="s"))
    await bench.writer.submit(lambda draft: None, 5.0)
    assert bench.get("sealed") is not None


async def test_an_unexpected_refusal_of_the_store_reaches_the_caller() -> None:
    bench = Bench()
    await bench.journal.open()

    async def refuse(*_: Any, **__: Any) -> None:
        raise StaleEpoch("over")

    bench.store.commit = refuse  # type: ignore[method-assign]
    with pytest.raises(ServiceUnavailable):
        await bench.put("a")


@pytest.mark.parametrize("kinds", [(Note, Note), (Record,)])
def test_each_kind_has_a_name_of_its_own(kinds: tuple[type[Record], ...]) -> None:
    with pytest.raises(ValueError, match="name of its own"):
        RecordJournal(Store(clock=ManualClock()), ManualClock(), kinds, RecordDraft)


def test_a_savepoint_takes_back_what_came_after_it() -> None:
    bench = Bench()
    bench.journal.records.put("kept", Note(text="kept"))
    draft = bench.journal.begin()
    draft.put("a", Note(text="first"))
    point = draft.savepoint()
    draft.put("a", Note(text="second"))
    draft.delete(Note, "kept")
    draft.put("b", Note(text="new"))
    draft.append("log", b"entry")
    draft.roll_back(point)
    assert draft.get(Note, "a") == Note(text="first")
    assert draft.get(Note, "kept") is not None
    assert draft.get(Note, "b") is None
    assert len(draft.ops) == 1
    assert draft.size_bytes == point[1]
    assert draft.count(Note) == 2
