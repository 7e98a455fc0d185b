import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.resilience.noted_pauses import NotedPauses
from zejzl_ray.errors import RateLimited
from zejzl_ray.resilience.admission import Admission
from zejzl_ray.resilience.sliding_window import SlidingWindow
from zejzl_ray.resilience.token_bucket import BucketLevel
from zejzl_ray.testing.clock import ManualClock


class HeldPauses:
    """Pauses that end when the test says so."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.begun: list[asyncio.Event] = []

    async def sleep(self, seconds: float) -> None:
        event = asyncio.Event()
        self.begun.append(event)
        await event.wait()
        self.clock.advance(seconds)


async def turns(number: int = 5) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


def test_a_refusal_by_one_limit_charges_none() -> None:
    clock = ManualClock()
    wide, narrow = SlidingWindow(10, 60.0), BucketLevel(2, 0.1, clock.monotonic_s())
    gate = Admission([wide, narrow], clock)
    assert [gate.try_acquire() for _ in range(5)] == [True, True, False, False, False]
    assert wide.used(clock.monotonic_s()) == 2


@given(
    limits=st.lists(st.tuples(st.integers(1, 8), st.floats(1, 100)), min_size=1, max_size=4),
    steps=st.lists(st.tuples(st.floats(0, 30), st.integers(1, 8)), max_size=60),
)
def test_all_limits_are_charged_or_none(
    limits: list[tuple[int, float]], steps: list[tuple[float, int]]
) -> None:
    clock = ManualClock()
    windows = [SlidingWindow(limit, period_s) for limit, period_s in limits]
    gate = Admission(windows, clock)
    smallest = min(window.capacity for window in windows)
    for pause_s, asked in steps:
        clock.advance(pause_s)
        now_s = clock.monotonic_s()
        tokens = min(asked, smallest)
        before = [window.used(now_s) for window in windows]
        allowed = all(window.available(now_s) >= tokens for window in windows)
        assert gate.try_acquire(tokens) is allowed
        assert (gate.retry_after_s(tokens) == 0) == all(w.available(now_s) >= tokens for w in windows)
        charge = tokens if allowed else 0
        assert [window.used(now_s) for window in windows] == [used + charge for used in before]


async def test_who_waits_is_served_in_the_order_of_asking_and_nobody_overtakes() -> None:
    time = NotedPauses()
    gate = Admission([BucketLevel(5, 1.0, time.clock.monotonic_s())], time.clock, time.sleep)
    assert gate.try_acquire(5)
    served: list[str] = []

    async def ask(name: str, tokens: int) -> None:
        assert await gate.acquire(tokens, timeout=100)
        served.append(name)

    async with asyncio.TaskGroup() as group:
        group.create_task(ask("large", 5))
        group.create_task(ask("small", 1))
        group.create_task(ask("last", 2))
        await asyncio.sleep(0)
        assert gate.waiting == 3
        time.clock.advance(1)
        assert not gate.try_acquire(1)
    assert served == ["large", "small", "last"]
    assert gate.waiting == 0


async def test_a_waiters_time_runs_while_others_are_before_it() -> None:
    time = HeldPauses()
    gate = Admission([BucketLevel(1, 1.0, time.clock.monotonic_s())], time.clock, time.sleep)
    assert gate.try_acquire()
    head = asyncio.create_task(gate.acquire(timeout=100))
    await turns()
    assert not await gate.acquire(timeout=0.001)
    assert not head.done()
    time.begun[0].set()
    assert await head


async def test_a_cancelled_waiter_has_taken_nothing_and_lets_the_next_one_in() -> None:
    time = HeldPauses()
    level = BucketLevel(1, 1.0, time.clock.monotonic_s())
    gate = Admission([level], time.clock, time.sleep)
    assert gate.try_acquire()
    head, second = (asyncio.create_task(gate.acquire(timeout=100)) for _ in range(2))
    await turns()
    head.cancel()
    await turns()
    assert head.cancelled()
    assert (gate.waiting, level.available(time.clock.monotonic_s())) == (1, 0.0)
    time.begun[1].set()
    assert await second


async def test_a_pause_that_ended_too_early_is_followed_by_another() -> None:
    clock, slept = ManualClock(), list[float]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock.advance(seconds * 0.75)

    gate = Admission([BucketLevel(1, 1.0, clock.monotonic_s())], clock, sleep)
    assert gate.try_acquire()
    assert await gate.acquire()
    assert len(slept) > 1
    assert min(slept) == 0.001


async def test_the_number_of_waiters_is_bounded() -> None:
    time = HeldPauses()
    gate = Admission([BucketLevel(1, 1.0, time.clock.monotonic_s())], time.clock, time.sleep, max_waiters=1)
    assert gate.try_acquire()
    head = asyncio.create_task(gate.acquire(timeout=100))
    await turns()
    assert not await gate.acquire(timeout=100)
    time.begun[0].set()
    assert await head


async def test_a_failing_sleep_is_not_taken_for_a_time_out() -> None:
    clock = ManualClock()

    async def broken(_: float) -> None:
        raise TimeoutError("of the sleep")

    gate = Admission([BucketLevel(1, 1.0, clock.monotonic_s())], clock, broken)
    assert gate.try_acquire()
    with pytest.raises(TimeoutError, match="of the sleep"):
        await gate.acquire(timeout=100)
    assert gate.waiting == 0


async def test_admitting_raises_with_the_time_to_come_back() -> None:
    clock = ManualClock()
    gate = Admission([BucketLevel(2, 0.1, clock.monotonic_s())], clock)
    await gate.admit("claude", 2, timeout=0)
    with pytest.raises(RateLimited, match="Too many calls of claude") as info:
        await gate.admit("claude", timeout=0)
    assert info.value.retry_after_s == pytest.approx(10.0)
