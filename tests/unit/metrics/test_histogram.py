"""The histogram of times: as good as it says, and as cheap."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zejzl_ray.errors import InvalidInput
from zejzl_ray.metrics.histogram import (
    BOUNDS_S,
    BUCKETS,
    HIGHEST_S,
    LOWEST_S,
    RELATIVE_ERROR,
    LatencyHistogram,
    Spread,
)

times = st.one_of(
    st.floats(0, 5e3, allow_nan=False),
    st.sampled_from([0.0, LOWEST_S, HIGHEST_S, 0.5e-6, 4e3, *BOUNDS_S[::20]]),
)
ratios = st.floats(0, 1)


def of(samples: list[float]) -> LatencyHistogram:
    histogram = LatencyHistogram()
    for sample in samples:
        histogram.record(sample)
    return histogram


def exact(samples: list[float], ratio: float) -> float:
    return sorted(samples)[max(1, math.ceil(ratio * len(samples))) - 1]


@given(st.lists(times, min_size=1), ratios)
def test_a_quantile_is_within_the_stated_error_of_the_exact_one(samples: list[float], ratio: float) -> None:
    right, found = exact(samples, ratio), of(samples).quantile(ratio)
    if right < LOWEST_S:
        assert abs(found - right) <= LOWEST_S
    elif right >= HIGHEST_S:
        assert right <= found <= max(samples)
    else:
        assert found == pytest.approx(right, rel=RELATIVE_ERROR + 1e-9)


@given(st.lists(times), st.lists(times))
def test_merging_is_recording_everything_in_one(left: list[float], right: list[float]) -> None:
    merged = of(left)
    merged.merge(of(right))
    assert merged == of(left + right)
    assert merged.sum_s == pytest.approx(sum(left) + sum(right))


@given(st.lists(times), st.lists(times))
def test_a_window_holds_what_came_since_the_snapshot(before: list[float], after: list[float]) -> None:
    histogram = of(before)
    snapshot = histogram.snapshot()
    for sample in after:
        histogram.record(sample)
    window = histogram.minus(snapshot)
    assert window.count == len(after)
    assert window.sum_s == pytest.approx(sum(after), rel=1e-6, abs=1e-6)
    if after:
        assert window.min_s <= min(after) * 1.000001
        assert window.max_s >= max(after) * 0.999999
        assert window.max_s <= max([*before, *after])
    again = snapshot
    again.merge(window)
    assert again._counts == histogram._counts


@given(st.lists(times))
def test_what_goes_over_the_wire_comes_back(samples: list[float]) -> None:
    assert LatencyHistogram.from_dict(of(samples).to_dict()) == of(samples)


@given(st.lists(times, min_size=1))
def test_count_sum_and_ends_are_exact(samples: list[float]) -> None:
    histogram = of(samples)
    assert (histogram.count, histogram.min_s, histogram.max_s) == (len(samples), min(samples), max(samples))
    assert histogram.mean_s == pytest.approx(math.fsum(samples) / len(samples))
    spread = histogram.spread()
    assert spread.min_ms <= spread.p50_ms <= spread.p95_ms <= spread.p99_ms <= spread.max_ms


@pytest.mark.parametrize("sample", [math.nan, math.inf, -math.inf])
def test_a_time_that_is_no_finite_number_is_left_out(sample: float) -> None:
    histogram = of([0.5, sample, 0.7])
    assert histogram == of([0.5, 0.7])
    assert histogram.sum_s == 1.2
    assert of([sample]).count == 0


def test_a_clock_that_was_set_back_counts_as_no_time() -> None:
    histogram = of([0.5, -3.0, -1.0])
    assert (histogram.count, histogram.sum_s, histogram.min_s) == (3, 0.5, 0.0)


def test_without_samples_everything_is_zero() -> None:
    empty = LatencyHistogram()
    assert empty.spread() == Spread(0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    assert empty.quantiles(0, 0.5, 1) == (0.0, 0.0, 0.0)
    assert (empty.mean_s, empty.min_s, empty.max_s, empty.buckets()) == (0.0, 0.0, 0.0, [])


def test_a_reset_forgets_and_a_window_over_it_holds_all_that_is_new() -> None:
    histogram = of([0.1, 0.2])
    before = histogram.snapshot()
    histogram.reset()
    assert histogram == LatencyHistogram()
    histogram.record(0.3)
    assert histogram.minus(before) == of([0.3])


@pytest.mark.parametrize("ratio", [-0.1, 1.1, math.nan])
def test_only_ratios_between_0_and_1_can_be_asked_for(ratio: float) -> None:
    with pytest.raises(InvalidInput, match=r"0\.95 is p95"):
        of([1.0]).quantile(ratio)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"counts": 3, "sum_s": 0, "min_s": 0, "max_s": 0},
        {"counts": {"x": 1}, "sum_s": 0, "min_s": 0, "max_s": 0},
        {"counts": {"-1": 1}, "sum_s": 0, "min_s": 0, "max_s": 0},
        {"counts": {str(BUCKETS): 1}, "sum_s": 0, "min_s": 0, "max_s": 0},
        {"counts": {"3": 0}, "sum_s": 0, "min_s": 0, "max_s": 0},
        {"counts": {"3": True}, "sum_s": 0, "min_s": 0, "max_s": 0},
        {"counts": {"3": 1}, "sum_s": None, "min_s": 0, "max_s": 0},
        {"counts": {"3": 1}, "sum_s": 1, "min_s": 2, "max_s": 1},
        {"counts": {"3": 1}, "sum_s": math.nan, "min_s": 0, "max_s": 1},
    ],
)
def test_what_is_no_histogram_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        LatencyHistogram.from_dict(values)


def test_the_buckets_are_as_documented() -> None:
    assert (BOUNDS_S[0], BOUNDS_S[-1], len(BOUNDS_S) + 1) == (LOWEST_S, HIGHEST_S, BUCKETS)
    assert max(high / low for low, high in itertools.pairwise(BOUNDS_S)) <= 1.1 + 1e-9
    assert of([2e-6, 2e-6, 5e3]).buckets()[-1] == (math.inf, 1)
    assert LatencyHistogram() != 3


@given(st.lists(st.sampled_from([0.0, 1e-6, 1.05e-6, 1.1e-6, 0.001, 0.00105, 0.0011, 5.0, 2e3]), max_size=40))
def test_a_sample_like_the_last_one_is_counted_as_if_it_were_the_first(samples: list[float]) -> None:
    at_once, one_by_one = LatencyHistogram(), LatencyHistogram()
    for sample in samples:
        at_once.record(sample)
        alone = LatencyHistogram()
        alone.record(sample)
        one_by_one.merge(alone)
    assert at_once == one_by_one
    assert at_once.sum_s == pytest.approx(one_by_one.sum_s)


def test_after_a_reset_and_in_a_copy_nothing_is_known_of_the_last_sample() -> None:
    histogram = LatencyHistogram()
    for sample in (0.00101, 0.00105, 0.00103):
        histogram.record(sample)
    copy = histogram.snapshot()
    histogram.reset()
    for each in (copy, histogram):
        each.record(0.00103)
    assert (copy.count, histogram.count) == (4, 1)
    assert (histogram.min_s, histogram.max_s) == (0.00103, 0.00103)
