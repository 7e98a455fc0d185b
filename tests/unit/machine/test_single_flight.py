import asyncio
import threading

import pytest

from zejzl_ray.errors import DeadlineExceeded
from zejzl_ray.machine.single_flight import SingleFlight


async def test_callers_at_the_same_time_share_one_call() -> None:
    calls: list[int] = []
    gate = threading.Event()

    def call() -> int:
        calls.append(1)
        gate.wait(10)
        return 7

    flight = SingleFlight(call, "It")
    first = asyncio.ensure_future(flight.result(10))
    second = asyncio.ensure_future(flight.result(10))
    await asyncio.sleep(0)
    is_running_meanwhile = flight.is_running
    gate.set()
    assert (await first, await second, is_running_meanwhile) == (7, 7, True)
    assert (len(calls), flight.is_running) == (1, False)
    assert await flight.result(10) == 7
    assert len(calls) == 2


async def test_a_call_that_hangs_is_not_started_a_second_time() -> None:
    calls: list[int] = []
    has_started = threading.Event()
    gate = threading.Event()

    def call() -> None:
        calls.append(1)
        has_started.set()
        gate.wait(10)

    flight = SingleFlight(call, "The driver")
    try:
        for _ in range(3):
            with pytest.raises(DeadlineExceeded, match=r"The driver did not answer within 0\.001 s"):
                await flight.result(0.001)
        assert await asyncio.to_thread(has_started.wait, 10)
        assert len(calls) == 1
    finally:
        gate.set()


async def test_an_exception_reaches_the_caller_and_the_next_call_starts_anew() -> None:
    outcomes: list[Exception | None] = [ValueError("no"), None]

    def call() -> str:
        outcome = outcomes.pop(0)
        if outcome is not None:
            raise outcome
        return "yes"

    flight = SingleFlight(call, "It")
    with pytest.raises(ValueError, match="no"):
        await flight.result(10)
    assert await flight.result(10) == "yes"


async def test_a_cancelled_caller_leaves_the_call_to_the_others() -> None:
    gate = threading.Event()
    flight = SingleFlight(lambda: gate.wait(10), "It")
    first = asyncio.ensure_future(flight.result(10))
    second = asyncio.ensure_future(flight.result(10))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait({first})
    gate.set()
    assert await second is True
