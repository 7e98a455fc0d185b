import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.resilience.noted_pauses import NotedPauses
from zejzl_ray.errors import InvalidInput
from zejzl_ray.resilience.token_bucket import TokenBucket
from zejzl_ray.testing.clock import ManualClock


def test_a_bucket_is_full_at_first_and_refills_steadily_up_to_its_capacity() -> None:
    clock = ManualClock()
    bucket = TokenBucket(10, 2.0, clock=clock)
    assert bucket.try_acquire(10)
    assert not bucket.try_acquire()
    clock.advance(1.5)
    assert bucket.available() == pytest.approx(3.0)
    clock.advance(1_000)
    assert bucket.available() == 10.0


def test_a_refusal_takes_nothing() -> None:
    bucket = TokenBucket(5, 1.0, clock=ManualClock())
    assert bucket.try_acquire(3)
    assert not bucket.try_acquire(3)
    assert bucket.available() == 2.0


async def test_who_waits_gets_the_tokens_as_soon_as_they_are_there() -> None:
    time = NotedPauses()
    bucket = TokenBucket(4, 2.0, clock=time.clock, sleep=time.sleep)
    assert await bucket.acquire(4)
    assert await bucket.acquire(3, timeout=1.5)
    assert time.slept == [pytest.approx(1.5)]


async def test_who_would_wait_too_long_is_told_at_once_and_pays_nothing() -> None:
    time = NotedPauses()
    bucket = TokenBucket(4, 2.0, clock=time.clock, sleep=time.sleep)
    assert await bucket.acquire(4)
    assert not await bucket.acquire(3, timeout=1.4)
    assert not await bucket.acquire(1, timeout=0)
    assert (time.slept, bucket.available()) == ([], 0.0)


@pytest.mark.parametrize("tokens", [0, -1, 11])
async def test_what_can_never_be_granted_is_refused_with_the_range(tokens: int) -> None:
    bucket = TokenBucket(10, 1.0)
    with pytest.raises(InvalidInput, match="1 to 10"):
        await bucket.acquire(tokens)
    with pytest.raises(InvalidInput, match="1 to 10"):
        bucket.try_acquire(tokens)


@pytest.mark.parametrize("timeout", [-1.0, math.nan])
async def test_a_time_out_that_is_no_time_is_refused(timeout: float) -> None:
    with pytest.raises(InvalidInput, match="time-out"):
        await TokenBucket(1, 1.0).acquire(timeout=timeout)


@pytest.mark.parametrize(("capacity", "rate"), [(0, 1.0), (1, 0.0), (1, -1.0), (1, math.inf), (1, math.nan)])
def test_a_bucket_that_cannot_work_is_refused(capacity: int, rate: float) -> None:
    with pytest.raises(InvalidInput, match="of a bucket"):
        TokenBucket(capacity, rate)


@given(
    capacity=st.integers(1, 20),
    rate=st.floats(0.1, 50),
    steps=st.lists(st.tuples(st.floats(0, 5), st.integers(1, 20)), max_size=60),
)
def test_in_any_window_at_most_the_capacity_and_what_was_refilled_is_granted(
    capacity: int, rate: float, steps: list[tuple[float, int]]
) -> None:
    clock = ManualClock(1_000.0)
    bucket = TokenBucket(capacity, rate, clock=clock)
    granted: list[tuple[float, int]] = []
    for pause_s, tokens in steps:
        clock.advance(pause_s)
        before = bucket.available()
        if bucket.try_acquire(min(tokens, capacity)):
            granted.append((clock.monotonic_s(), min(tokens, capacity)))
        else:
            assert bucket.available() == before
        assert 0 <= bucket.available() <= capacity
    for first, (begin_s, _) in enumerate(granted):
        total = 0
        for at_s, tokens in granted[first:]:
            total += tokens
            assert total <= capacity + rate * (at_s - begin_s) + 1e-6
