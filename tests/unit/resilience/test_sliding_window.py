import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zejzl_ray.errors import InvalidInput
from zejzl_ray.resilience.sliding_window import SlidingWindow


@given(
    limit=st.integers(1, 12),
    period_s=st.sampled_from([1.0, 60.0, 3_600.0]),
    steps=st.lists(st.tuples(st.floats(0, 0.4), st.integers(1, 12)), max_size=80),
    start_s=st.floats(0, 1e6),
)
def test_no_window_of_the_period_ever_holds_more_than_the_limit(
    limit: int, period_s: float, steps: list[tuple[float, int]], start_s: float
) -> None:
    window, now_s = SlidingWindow(limit, period_s), start_s
    granted: list[tuple[float, int]] = []
    for part, asked in steps:
        now_s += part * period_s
        tokens = min(asked, limit)
        wait_s = window.wait_s(tokens, now_s)
        if wait_s == 0:
            window.take(tokens, now_s)
            granted.append((now_s, tokens))
        else:
            # worth waiting for: then it is granted, and never much later than the window asks
            later = copy.deepcopy(window)  # time never goes back for the window itself
            assert later.wait_s(tokens, now_s + wait_s + 1e-6) == 0
            assert wait_s <= period_s * (1 + 1 / 120) + 1e-6
        exact = sum(tokens for at_s, tokens in granted if at_s > now_s - period_s)
        assert exact <= window.used(now_s) <= limit


@given(st.lists(st.floats(0, 0.01), min_size=1, max_size=200))
def test_its_memory_does_not_grow_with_the_number_of_grants(parts: list[float]) -> None:
    window, now_s = SlidingWindow(1_000_000, 60.0), 0.0
    for part in parts:
        now_s += part * 60
        window.take(1, now_s)
    assert window.used(now_s) <= len(parts)
    assert len(window._slots) <= 122


def test_the_place_of_a_grant_comes_free_after_the_period_and_its_slot() -> None:
    window = SlidingWindow(1, 60.0)
    window.take(1, 10.2)
    assert window.wait_s(1, 10.2) == pytest.approx(60.3)
    assert window.used(70.4) == 1
    assert window.used(70.5) == 0
    assert window.available(70.5) == 1.0


def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(InvalidInput, match="period of 60 s is 0"):
        SlidingWindow(0, 60.0)
