import asyncio
from typing import Any

import pytest

from zejzl_ray.commands.group_writer import GroupWriter
from zejzl_ray.errors import (
    Conflict,
    InvalidInput,
    Overloaded,
    ServiceUnavailable,
    StaleEpoch,
    StoreError,
    StoreUnavailable,
    VersionConflict,
)


class Counter:
    """A target that adds numbers; a draft is the list of what was added."""

    def __init__(self) -> None:
        self.total = 0
        self.groups: list[list[int]] = []
        self.errors: list[Exception] = []
        self.prepare_error: Exception | None = None
        self.gate: asyncio.Event | None = None
        self.prepared = 0

    async def prepare(self) -> None:
        self.prepared += 1
        if self.prepare_error is not None:
            raise self.prepare_error

    def begin(self) -> list[int]:
        return []

    def is_full(self, draft: list[int]) -> bool:
        return sum(draft) >= 100

    async def commit(self, draft: list[int]) -> None:
        if self.gate is not None:
            await self.gate.wait()
        await asyncio.sleep(0)
        if self.errors:
            raise self.errors.pop(0)
        self.total += sum(draft)
        self.groups.append(draft)


def adding(number: int) -> Any:
    def decide(draft: list[int]) -> int:
        if number < 0:
            raise InvalidInput("negative")
        draft.append(number)
        return number

    return decide


def writer(target: Counter, **sizes: int) -> GroupWriter[list[int]]:
    return GroupWriter(target, max_queue=sizes.get("max_queue", 100), max_batch=sizes.get("max_batch", 10))


async def submit_all(group_writer: GroupWriter[list[int]], *numbers: int) -> list[Any]:
    return await asyncio.gather(
        *(group_writer.submit(adding(number), 5.0) for number in numbers), return_exceptions=True
    )


async def test_commands_that_wait_together_are_committed_together_in_order() -> None:
    target = Counter()
    assert await submit_all(writer(target, max_batch=3), 1, 2, 3, 4, 5) == [1, 2, 3, 4, 5]
    assert target.groups == [[1, 2, 3], [4, 5]]


async def test_a_full_draft_closes_the_group() -> None:
    target = Counter()
    await submit_all(writer(target), 60, 60, 60)
    assert target.groups == [[60, 60], [60]]


async def test_a_refused_command_does_not_disturb_the_others() -> None:
    target = Counter()
    replies = await submit_all(writer(target), 1, -1, 2)
    assert (replies[0], replies[2]) == (1, 2)
    assert isinstance(replies[1], InvalidInput)


async def test_an_unexpected_error_in_a_decision_reaches_its_caller_only() -> None:
    target = Counter()
    group_writer = writer(target)

    def broken(draft: list[int]) -> int:
        raise ZeroDivisionError

    replies = await asyncio.gather(
        group_writer.submit(broken, 5.0), group_writer.submit(adding(1), 5.0), return_exceptions=True
    )
    assert isinstance(replies[0], ZeroDivisionError)
    assert replies[1] == 1


async def test_everybody_who_waits_learns_that_the_store_is_away() -> None:
    target = Counter()
    target.errors.append(StoreUnavailable("away"))
    group_writer = writer(target, max_batch=1)
    replies = await submit_all(group_writer, 1, 2)
    assert [type(reply) for reply in replies] == [StoreUnavailable, StoreUnavailable]
    assert replies[0] is not replies[1]
    assert await group_writer.submit(adding(3), 5.0) == 3


async def test_a_group_is_decided_again_when_the_store_has_changed() -> None:
    target = Counter()
    target.errors.append(VersionConflict("changed"))
    assert await submit_all(writer(target), 1, 2) == [1, 2]
    assert target.groups == [[1, 2]]
    assert target.prepared == 2


async def test_a_store_that_keeps_changing_ends_in_an_error() -> None:
    target = Counter()
    target.errors += [VersionConflict("changed")] * 3
    with pytest.raises(ServiceUnavailable, match="keeps changing"):
        await writer(target).submit(adding(1), 5.0)


async def test_nothing_is_taken_any_more_after_another_writer_took_over() -> None:
    target = Counter()
    target.errors.append(StaleEpoch("over"))
    group_writer = writer(target)
    for _ in range(2):
        with pytest.raises(ServiceUnavailable, match="taken over"):
            await group_writer.submit(adding(1), 5.0)
    assert target.groups == []


async def test_a_store_that_refuses_one_group_takes_the_next() -> None:
    target = Counter()
    target.errors += [Conflict("this one"), ZeroDivisionError()]
    group_writer = writer(target, max_batch=1)
    replies = await submit_all(group_writer, 1)
    assert isinstance(replies[0], Conflict)
    replies = await submit_all(group_writer, 2)
    assert isinstance(replies[0], ServiceUnavailable)
    assert await submit_all(group_writer, 3) == [3]


async def test_a_state_that_cannot_be_read_refuses_all_instead_of_trying_for_ever() -> None:
    target = Counter()
    target.prepare_error = StoreError("unreadable")
    replies = await submit_all(writer(target), 1, 2)
    assert [type(reply) for reply in replies] == [StoreError, StoreError]


async def test_the_queue_is_bounded() -> None:
    target = Counter()
    replies = await submit_all(writer(target, max_queue=2), 1, 2, 3)
    assert isinstance(replies[2], Overloaded)
    assert target.total == 3


async def test_a_caller_waits_no_longer_than_it_wants_and_the_others_go_on() -> None:
    target = Counter()
    target.gate = asyncio.Event()
    group_writer = writer(target, max_batch=1)
    patient = asyncio.create_task(group_writer.submit(adding(1), 5.0))
    await asyncio.sleep(0)
    with pytest.raises(TimeoutError):
        await group_writer.submit(adding(2), 0.001)
    assert len(group_writer) == 1
    target.gate.set()
    assert await patient == 1
    assert await group_writer.submit(adding(4), 5.0) == 4
    assert target.total == 5, "a command whose caller is gone before its turn is not run"


async def test_closing_lets_waiting_commands_finish() -> None:
    target = Counter()
    group_writer = writer(target)
    waiting = asyncio.create_task(group_writer.submit(adding(1), 5.0))
    await asyncio.sleep(0)
    await group_writer.close(ServiceUnavailable("stopping"), 5.0)
    assert await waiting == 1
    with pytest.raises(ServiceUnavailable, match="stopping"):
        await group_writer.submit(adding(2), 5.0)
    await group_writer.close(ServiceUnavailable("stopping"), 5.0)


async def test_closing_gives_up_on_a_store_that_hangs() -> None:
    target = Counter()
    target.gate = asyncio.Event()
    group_writer = writer(target, max_batch=1)
    waiting = [asyncio.create_task(group_writer.submit(adding(number), 5.0)) for number in (1, 2)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await group_writer.close(ServiceUnavailable("stopping"), 0.01)
    replies = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(reply) for reply in replies] == [ServiceUnavailable, ServiceUnavailable]


async def test_a_refusal_is_told_with_the_group_since_its_reason_may_come_to_nothing() -> None:
    target = Counter()
    target.errors = [StoreUnavailable("gone")]
    one = writer(target)

    def taking(draft: list[int]) -> int:
        if 7 in draft:
            raise Conflict("somebody has it already")
        draft.append(7)
        return 7

    replies = await asyncio.gather(one.submit(taking, 5.0), one.submit(taking, 5.0), return_exceptions=True)
    assert [type(reply) for reply in replies] == [StoreUnavailable, StoreUnavailable]
    assert await one.submit(taking, 5.0) == 7


async def test_a_refusal_is_decided_anew_with_its_group() -> None:
    target = Counter()
    target.errors = [VersionConflict("changed meanwhile")]
    seen: list[int] = []

    def refusing(draft: list[int]) -> int:
        seen.append(target.prepared)
        if target.prepared == 1:
            raise Conflict("not yet")
        return 0

    assert await writer(target).submit(refusing, 5.0) == 0
    assert seen == [1, 2]
