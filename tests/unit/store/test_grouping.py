"""Group commit without a store behind it."""

import asyncio
from collections.abc import Sequence

import pytest

from zejzl_ray.errors import StoreError, StoreUnavailable, VersionConflict
from zejzl_ray.store import Append
from zejzl_ray.store.grouping import MAX_BATCH_BYTES, MAX_BATCH_COMMITS, GroupCommitter, Outcome, Waiting
from zejzl_ray.store.operations import Prepared, prepare


def commit_of(value: bytes = b"") -> Prepared:
    return prepare([Append("l", value)], epoch=1, expect=None, commit_id="", now_s=0)


class Sink:
    """Takes batches; holds them until told to go on."""

    def __init__(self, outcome: Outcome | Exception = None) -> None:
        self.batches: list[int] = []
        self.go = asyncio.Event()
        self.outcome = outcome

    async def send(self, batch: Sequence[Waiting]) -> Sequence[Outcome]:
        self.batches.append(len(batch))
        await self.go.wait()
        if isinstance(self.outcome, VersionConflict):
            return [self.outcome] * len(batch)
        if self.outcome is not None:
            raise self.outcome
        return [None] * len(batch)


async def start(committer: GroupCommitter, count: int, value: bytes = b"") -> list[asyncio.Task[None]]:
    tasks = [asyncio.create_task(committer.submit(commit_of(value))) for _ in range(count)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


async def test_a_lone_commit_goes_out_at_once_and_the_rest_together() -> None:
    sink = Sink()
    committer = GroupCommitter("test", sink.send, timeout_s=30)
    first = await start(committer, 1)
    rest = await start(committer, 100)
    sink.go.set()
    await asyncio.gather(*first, *rest)
    assert sink.batches == [1, 100]


async def test_batches_are_bounded_in_number_and_bytes() -> None:
    sink = Sink()
    committer = GroupCommitter("test", sink.send, timeout_s=30)
    tasks = await start(committer, 1) + await start(committer, MAX_BATCH_COMMITS + 5)
    tasks += await start(committer, 3, b"x" * (MAX_BATCH_BYTES // 2 + 1))
    sink.go.set()
    await asyncio.gather(*tasks)
    assert sink.batches == [1, MAX_BATCH_COMMITS, 6, 1, 1]


async def test_one_commit_above_the_batch_limit_still_goes() -> None:
    sink = Sink()
    sink.go.set()
    await GroupCommitter("test", sink.send, timeout_s=30).submit(commit_of(b"x" * (MAX_BATCH_BYTES + 1)))
    assert sink.batches == [1]


async def test_every_waiter_gets_an_error_object_of_its_own() -> None:
    sink = Sink(VersionConflict("k", "again"))
    sink.go.set()
    committer = GroupCommitter("test", sink.send, timeout_s=30)
    errors = await asyncio.gather(*await start(committer, 3), return_exceptions=True)
    assert {type(error) for error in errors} == {VersionConflict}
    assert len({id(error) for error in errors}) == 3
    assert {str(error) for error in errors} == {"k again"}


async def test_a_failed_batch_fails_its_commits_and_the_next_one_goes_on() -> None:
    sink = Sink(StoreUnavailable("away"))
    sink.go.set()
    committer = GroupCommitter("test", sink.send, timeout_s=30)
    with pytest.raises(StoreUnavailable, match="away"):
        await committer.submit(commit_of())
    sink.outcome = None
    await committer.submit(commit_of())


async def test_a_defect_in_send_is_said_and_leaves_nobody_waiting() -> None:
    sink = Sink(KeyError("oops"))
    sink.go.set()
    committer = GroupCommitter("test", sink.send, timeout_s=30)
    with pytest.raises(StoreError, match="unexpected KeyError"):
        await committer.submit(commit_of())


async def test_a_caller_that_runs_out_of_time_is_told_the_last_trouble() -> None:
    committer = GroupCommitter("test", Sink().send, timeout_s=0.01)
    committer.trouble = "Last error: refused."
    with pytest.raises(StoreUnavailable, match=r"within 0\.01 s\. Last error: refused\."):
        await committer.submit(commit_of())
    await committer.close()


async def test_commits_whose_caller_left_are_not_sent() -> None:
    sink = Sink()
    committer = GroupCommitter("test", sink.send, timeout_s=30)
    first = await start(committer, 1)
    left = await start(committer, 3)
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    sink.go.set()
    await asyncio.gather(*first, *await start(committer, 2))
    assert sum(sink.batches) == 3


async def test_close_interrupts_a_batch_that_does_not_end() -> None:
    committer = GroupCommitter("test", Sink().send, timeout_s=0.05)
    sent = await start(committer, 1)
    waiting = await start(committer, 1)
    # The callers' own time limit would end at the same moment: hold it off for the one that was sent.
    await asyncio.gather(committer.close(), return_exceptions=True)
    outcomes = await asyncio.gather(*sent, *waiting, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {StoreUnavailable}
    with pytest.raises(StoreUnavailable, match="closed"):
        await committer.submit(commit_of())
    await committer.close()
