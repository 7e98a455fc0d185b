"""The bound of callbacks that run at once."""

import asyncio

import pytest
from structlog.testing import capture_logs

from zejzl_ray.bus.concurrency import ConcurrencyLimit


async def test_a_slot_is_given_back_also_when_what_was_done_failed() -> None:
    limit = ConcurrencyLimit(1)
    active: list[float] = []

    async def fail() -> None:
        async with limit.slot():
            active.append(limit.stats()["active"])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    assert active == [1.0]
    async with limit.slot():
        pass
    assert limit.stats()["active"] == 0.0
    assert limit.acquired == limit.released == 2


async def test_a_slot_that_is_passed_through_counts_as_taken_and_given_back() -> None:
    limit = ConcurrencyLimit(1)
    limit.pass_through()
    assert (limit.acquired, limit.released, limit.wait_s) == (1, 1, 0.0)


async def test_whoever_gives_up_waiting_has_taken_nothing() -> None:
    limit = ConcurrencyLimit(1)

    async def hold() -> None:
        async with limit.slot():
            await asyncio.sleep(100)

    holder, waiting = asyncio.create_task(hold()), asyncio.create_task(hold())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert limit.acquired == 1
    holder.cancel()
    await asyncio.gather(holder, return_exceptions=True)
    assert limit.acquired == limit.released


async def test_a_long_wait_for_a_slot_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0, 0.05, 1.0, 1.25])
    monkeypatch.setattr("zejzl_ray.bus.concurrency.time.perf_counter", lambda: next(times))
    limit = ConcurrencyLimit(1)
    with capture_logs() as logs:
        for _ in range(2):
            async with limit.slot():
                pass
    assert [(entry["event"], entry["waited_s"]) for entry in logs] == [
        ("[CONCURRENCY] waited for a slot", 0.25)
    ]
    assert limit.stats()["total_wait_time"] == pytest.approx(0.3)
    assert limit.stats()["avg_wait_time"] == pytest.approx(0.15)
