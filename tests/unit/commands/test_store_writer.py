"""What a writer makes of a store that is slow to fail, and of one that fails at once."""

import asyncio
from typing import Any, ClassVar

import pytest

from zejzl_ray.commands.group_writer import GroupWriter
from zejzl_ray.commands.record_journal import RecordJournal
from zejzl_ray.commands.records import Record, RecordDraft
from zejzl_ray.commands.silence import ASK_EVERY_S, FRESH_S
from zejzl_ray.errors import StoreUnavailable
from zejzl_ray.store.memory import MemoryStore
from zejzl_ray.store.protocol import Versioned
from zejzl_ray.testing import ManualClock


class Note(Record):
    KIND: ClassVar[str] = "note"

    text: str


class SlowStore(MemoryStore):
    """A store whose calls fail after a time on the clock, while a test says so."""

    fails_after_s: float | None = None
    commits = 0

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock=clock)
        self._manual = clock

    async def commit(self, *args: Any, **kwargs: Any) -> None:
        self.commits += 1
        self._fail()
        await super().commit(*args, **kwargs)

    async def get(self, key: str) -> Versioned | None:
        self._fail()
        return await super().get(key)

    def _fail(self) -> None:
        if self.fails_after_s is not None:
            self._manual.advance(self.fails_after_s)
            raise StoreUnavailable("no answer.", "Start it.")


class Bench:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = SlowStore(self.clock)
        self.journal: RecordJournal[RecordDraft] = RecordJournal(self.store, self.clock, (Note,), RecordDraft)
        self.writer: GroupWriter[RecordDraft] = GroupWriter(self.journal, max_queue=10, max_batch=10)

    async def put(self, key: str) -> None:
        await self.writer.submit(lambda draft: draft.put(key, Note(text="text"), None), 5.0)


@pytest.fixture
async def bench() -> Bench:
    bench = Bench()
    await bench.journal.open()
    return bench


async def test_a_commit_that_stays_unanswered_says_that_its_outcome_is_open(bench: Bench) -> None:
    bench.store.fails_after_s = 3.0
    with pytest.raises(StoreUnavailable, match="no answer") as caught:
        await bench.put("a")
    assert "may still take effect; repeat it with the same request_id" in caught.value.remedy


async def test_after_that_commands_are_not_sent_until_the_store_has_answered(bench: Bench) -> None:
    bench.store.fails_after_s = 3.0
    with pytest.raises(StoreUnavailable):
        await bench.put("a")
    for _ in range(5):
        with pytest.raises(StoreUnavailable, match="not sent"):
            await bench.put("b")
    assert bench.store.commits == 1
    bench.store.fails_after_s = None
    bench.clock.advance(FRESH_S + ASK_EVERY_S)
    await bench.put("b")
    assert bench.journal.records.count(Note) == 1
    assert not bench.journal.fault


async def test_a_load_that_stays_unanswered_is_silence_too(bench: Bench) -> None:
    bench.store.fails_after_s = 0.0
    with pytest.raises(StoreUnavailable):
        await bench.put("a")
    bench.store.fails_after_s = 3.0
    with pytest.raises(StoreUnavailable, match=r"^no answer"):
        await bench.put("a")
    with pytest.raises(StoreUnavailable, match="not sent"):
        await bench.put("a")


async def test_a_store_that_refuses_at_once_is_asked_each_time(bench: Bench) -> None:
    bench.store.fails_after_s = 0.0
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match=r"^no answer") as caught:
            await bench.put("a")
        assert caught.value.remedy == "Start it."
    bench.store.fails_after_s = None
    await bench.put("a")


async def test_a_commit_counts_as_confirmed_from_when_it_was_sent(bench: Bench) -> None:
    bench.clock.advance(7)
    assert bench.journal.confirmed_s_ago == 7
    bench.store.fails_after_s = 3.0
    with pytest.raises(StoreUnavailable):
        await bench.put("a")
    assert bench.journal.confirmed_s_ago == 10
    bench.store.fails_after_s = None
    bench.clock.advance(FRESH_S + ASK_EVERY_S)
    await bench.put("a")
    assert bench.journal.confirmed_s_ago == 0


async def test_a_clock_that_stood_still_confirms_nothing(bench: Bench) -> None:
    await bench.put("a")
    bench.clock.set_wall(60)  # the machine slept: the monotonic clock did not go on
    assert bench.journal.confirmed_s_ago == 60
    bench.clock.set_wall(-120)
    bench.clock.advance(4)
    assert bench.journal.confirmed_s_ago == 4


async def test_a_writer_without_an_epoch_is_not_confirmed() -> None:
    assert Bench().journal.confirmed_s_ago == float("inf")


async def test_a_commit_beyond_the_outer_limit_is_silence(bench: Bench) -> None:
    hanging = asyncio.Event()

    async def hang(*_: Any, **__: Any) -> None:
        await hanging.wait()

    bench.journal._commit_timeout_s = 0.01
    bench.store.commit = hang  # type: ignore[method-assign]  # a fake of one method
    with pytest.raises(StoreUnavailable, match=r"did not finish a commit within 0\.01 s"):
        await bench.put("a")
    with pytest.raises(StoreUnavailable, match="not sent"):
        await bench.put("a")
