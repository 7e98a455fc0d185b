import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.resilience.noted_pauses import NotedPauses
from zejzl_ray.errors import InvalidInput, RateLimited
from zejzl_ray.resilience.three_tier import RateLimitConfig, ThreeTierLimiter
from zejzl_ray.testing.clock import ManualClock


def test_the_defaults_are_sixty_a_minute_a_thousand_an_hour_ten_thousand_a_day_ten_at_once() -> None:
    assert RateLimitConfig() == RateLimitConfig(60, 1_000, 10_000, 10)


def test_a_burst_is_bounded_although_the_minute_has_room() -> None:
    clock = ManualClock()
    limiter = ThreeTierLimiter(clock=clock)
    assert [limiter.try_acquire() for _ in range(12)].count(True) == 10
    assert limiter.retry_after_s() == pytest.approx(1.0)
    clock.advance(1)
    assert [limiter.try_acquire() for _ in range(3)] == [True, False, False]


def test_a_refused_request_uses_up_nothing_of_any_tier() -> None:
    limiter = ThreeTierLimiter(RateLimitConfig(60, 1_000, 3, 10), clock=ManualClock())
    assert [limiter.try_acquire() for _ in range(10)].count(True) == 3
    assert limiter.stats() == {
        "requests_last_minute": 3,
        "requests_last_hour": 3,
        "requests_last_day": 3,
        "minute_limit": 60,
        "hour_limit": 1_000,
        "day_limit": 3,
        "minute_tokens_available": 57.0,
        "hour_tokens_available": 997.0,
        "day_tokens_available": 0.0,
    }


def test_the_figures_follow_time_without_further_requests() -> None:
    clock = ManualClock()
    limiter = ThreeTierLimiter(clock=clock)
    assert limiter.try_acquire()
    clock.advance(61)
    stats = limiter.stats()
    assert (stats["requests_last_minute"], stats["minute_tokens_available"]) == (0, 60.0)
    assert (stats["requests_last_hour"], stats["requests_last_day"]) == (1, 1)


def test_counts_beyond_a_thousand_are_right() -> None:
    clock = ManualClock()
    limiter = ThreeTierLimiter(RateLimitConfig(10_000, 10_000, 10_000, 10_000), clock=clock)
    for _ in range(1_500):
        assert limiter.try_acquire()
    assert limiter.stats()["requests_last_day"] == 1_500


@given(
    config=st.builds(
        RateLimitConfig, st.integers(1, 30), st.integers(1, 60), st.integers(1, 90), st.integers(1, 12)
    ),
    pauses=st.lists(st.floats(0, 40) | st.floats(0, 7_000), max_size=150),
)
def test_no_minute_hour_or_day_ever_holds_more_than_its_limit(
    config: RateLimitConfig, pauses: list[float]
) -> None:
    clock = ManualClock()
    limiter = ThreeTierLimiter(config, clock=clock)
    granted: list[float] = []
    for pause_s in pauses:
        clock.advance(pause_s)
        now_s, before = clock.monotonic_s(), limiter.stats()
        if limiter.try_acquire():
            granted.append(now_s)
        else:
            assert limiter.stats() == before
        for period_s, limit in (
            (60.0, config.requests_per_minute),
            (3_600.0, config.requests_per_hour),
            (86_400.0, config.requests_per_day),
        ):
            assert sum(at_s > now_s - period_s for at_s in granted) <= limit
        assert granted.count(now_s) <= config.burst_size


async def test_waiting_for_a_place_uses_the_injected_time() -> None:
    time = NotedPauses()
    limiter = ThreeTierLimiter(RateLimitConfig(60, 1_000, 10_000, 1), clock=time.clock, sleep=time.sleep)
    assert await limiter.acquire()
    assert await limiter.acquire(timeout=1.5)
    assert time.slept == [pytest.approx(1.0)]


async def test_a_full_day_is_refused_at_once_with_the_time_to_come_back() -> None:
    clock = ManualClock(86_400.0 * 3)
    limiter = ThreeTierLimiter(RateLimitConfig(60, 1_000, 1, 10), clock=clock)
    await limiter.admit("claude")
    with pytest.raises(RateLimited, match="claude") as info:
        await limiter.admit("claude")
    assert 86_400 <= info.value.retry_after_s <= 86_400 * (1 + 1 / 120)


@pytest.mark.parametrize("place", range(4))
def test_a_limit_below_one_is_refused(place: int) -> None:
    limits = [1, 1, 1, 1]
    limits[place] = 0
    with pytest.raises(InvalidInput):
        ThreeTierLimiter(RateLimitConfig(*limits))
