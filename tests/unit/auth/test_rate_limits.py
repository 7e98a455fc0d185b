"""How often a caller may call."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zejzl_ray.auth.rate_limits import RateLimits, WindowStorage
from zejzl_ray.contracts.policy import RatePolicy
from zejzl_ray.errors import RateLimited
from zejzl_ray.testing import ManualClock

RATE = RatePolicy(burst_per_s=5, sustained_per_min=20)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_700_000_040.0)  # the beginning of a minute


@pytest.fixture
def rates(clock: ManualClock) -> RateLimits:
    return RateLimits(clock)


def hits(rates: RateLimits, count: int, caller: str = "user:ada", rate: RatePolicy = RATE) -> int:
    """Return how many of so many calls were admitted."""
    admitted = 0
    for _ in range(count):
        try:
            rates.hit(caller, rate)
        except RateLimited:
            continue
        admitted += 1
    return admitted


def test_a_burst_is_limited_within_a_second(rates: RateLimits) -> None:
    assert hits(rates, 10) == 5


def test_the_sustained_rate_is_limited_within_a_minute(rates: RateLimits, clock: ManualClock) -> None:
    admitted = 0
    for _ in range(10):
        admitted += hits(rates, 4)
        clock.advance(2.0)
    assert admitted == 20


def test_callers_do_not_share_a_limit(rates: RateLimits) -> None:
    assert hits(rates, 10, "user:ada") == 5
    assert hits(rates, 10, "user:bob") == 5


def test_the_refusal_names_the_limit_and_the_time_to_wait(rates: RateLimits) -> None:
    hits(rates, 5)
    with pytest.raises(RateLimited, match="5 a second") as caught:
        rates.hit("user:ada", RATE)
    assert 0 < caught.value.retry_after_s < 2


def test_a_refusal_by_the_burst_leaves_the_minute_as_it_was(rates: RateLimits, clock: ManualClock) -> None:
    hits(rates, 500)
    clock.advance(5.0)
    assert hits(rates, 5) == 5  # had the refused ones been counted, the minute would be full


def test_a_refusal_by_the_minute_leaves_the_burst_as_it_was(rates: RateLimits) -> None:
    tight = RatePolicy(burst_per_s=5, sustained_per_min=1)
    assert hits(rates, 100, rate=tight) == 1
    assert hits(rates, 100, rate=RATE) == 4  # of the burst of 5 only the admitted one is gone


def test_windows_slide_so_that_no_moment_lets_twice_the_rate_through(
    rates: RateLimits, clock: ManualClock
) -> None:
    clock.advance(0.9)
    assert hits(rates, 10) == 5
    clock.advance(0.2)  # the next second has begun
    assert hits(rates, 10) <= 1


@given(
    burst=st.integers(1, 8),
    sustained=st.integers(1, 30),
    steps=st.lists(st.floats(0.0, 20.0), min_size=1, max_size=40),
)
def test_who_waits_as_told_is_admitted(burst: int, sustained: int, steps: list[float]) -> None:
    clock = ManualClock(1_700_000_000.0)
    rates = RateLimits(clock)
    rate = RatePolicy(burst_per_s=burst, sustained_per_min=sustained)
    for step_s in steps:
        clock.advance(step_s)
        for _ in range(3):  # the other window may be the next to refuse
            try:
                rates.hit("user:ada", rate)
            except RateLimited as error:
                clock.advance(min(error.retry_after_s, 121.0))
            else:
                break
        else:
            pytest.fail("waiting as told did not help")


def test_a_ratio_multiplies_the_rate_and_leaves_at_least_one_call(rates: RateLimits) -> None:
    for _ in range(2):
        rates.hit("agent:Slow", RATE, 0.5)
    with pytest.raises(RateLimited, match="2 a second"):
        rates.hit("agent:Slow", RATE, 0.5)
    rates.hit("agent:Slower", RATE, 0.001)
    with pytest.raises(RateLimited, match="1 a"):
        rates.hit("agent:Slower", RATE, 0.001)


def test_a_change_of_the_rate_forgives_nothing(rates: RateLimits) -> None:
    hits(rates, 5)
    with pytest.raises(RateLimited):
        rates.hit("user:ada", RATE, 0.5)
    rates.hit("user:ada", RATE, 2.0)  # 5 of 10


def test_after_a_shrunken_rate_the_wait_is_longer_than_the_window(rates: RateLimits) -> None:
    hits(rates, 5)
    with pytest.raises(RateLimited) as caught:
        rates.hit("user:ada", RATE, 0.2)
    assert caught.value.retry_after_s > 1


def test_ten_thousand_addresses_need_bounded_memory(clock: ManualClock) -> None:
    rates = RateLimits(clock, max_callers=500)
    for number in range(10_000):
        rates.hit(f"@10.0.{number // 256}.{number % 256}", RATE)
    assert len(rates) == 1000  # two windows a caller


def test_the_caller_of_longest_ago_is_forgotten_first(clock: ManualClock) -> None:
    rates = RateLimits(clock, max_callers=2)
    hits(rates, 5, "user:first")
    hits(rates, 5, "user:second")
    hits(rates, 1, "user:third")
    assert hits(rates, 1, "user:second") == 0
    assert hits(rates, 1, "user:first") == 1


def test_many_different_rates_are_bounded_too(rates: RateLimits) -> None:
    for number in range(3000):
        rates.hit(f"user:u{number}", RatePolicy(burst_per_s=1, sustained_per_min=number + 1))
    assert len(rates._items) <= 1024


def test_the_storage_does_what_the_library_asks_of_any(clock: ManualClock) -> None:
    storage = WindowStorage(clock, 10)
    assert storage.check()
    assert storage.base_exceptions == ()
    assert storage.get("key") == 0
    assert storage.get_expiry("key") == clock.monotonic_s()
    assert [storage.incr("key", 60), storage.incr("key", 60, 2)] == [1, 3]
    assert storage.get("key") == 3
    assert storage.get_expiry("key") == clock.monotonic_s() + 60
    clock.advance(60)
    assert storage.get_sliding_window("key", 60) == (3, 60.0, 0, 120.0)
    assert storage.get("key") == 0
    clock.advance(60)
    assert storage.get_sliding_window("key", 60) == (0, 0.0, 0, 120.0)
    storage.incr("key", 60)
    storage.clear_sliding_window("key", 60)
    assert (len(storage), storage.incr("other", 60), storage.reset(), len(storage)) == (0, 1, 1, 0)
    assert not storage.acquire_sliding_window_entry("key", 2, 60, 3)
    assert storage.acquire_sliding_window_entry("key", 3, 60, 3)
