"""Telemetry of components: what was counted, and the decorator that counts."""

import inspect
import json
import math

import pytest

from zejzl_ray.errors import InvalidInput, NotFound
from zejzl_ray.metrics import telemetry as module
from zejzl_ray.metrics.counters import OTHER
from zejzl_ray.metrics.telemetry import Telemetry
from zejzl_ray.testing.clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def telemetry(clock: ManualClock) -> Telemetry:
    return Telemetry(clock)


def test_a_component_has_counts_times_of_successes_and_errors_by_type(telemetry: Telemetry) -> None:
    telemetry.record_call("provider", 0.1)
    telemetry.record_call("provider", 0.3)
    telemetry.record_call("provider", 9.0, success=False, error_type="TimeoutError")
    telemetry.record_call("provider", 9.0, success=False)
    told = telemetry.get_metrics("provider")
    assert (told["total_calls"], told["successful_calls"], told["failed_calls"]) == (4, 2, 2)
    assert told["success_rate"] == 50
    assert told["average_response_time"] == pytest.approx(0.2)
    assert told["p95_response_time"] == pytest.approx(0.3, rel=0.05)
    assert told["max_response_time"] == pytest.approx(0.3)
    assert told["errors"] == {"TimeoutError": 1, "unknown": 1}
    assert told["last_call_timestamp"] == 1_700_000_000.0
    assert telemetry.get_metrics() == {"provider": told}


def test_a_component_that_only_failed_is_reported_without_times(telemetry: Telemetry) -> None:
    telemetry.record_call("bad", 1.0, False, "ValueError")
    telemetry.record_call("good", 0.002)
    assert telemetry.get_metrics("bad")["min_response_time"] is None
    assert telemetry.get_report().splitlines() == [
        "2 calls, 1 failed",
        "bad: 1 calls, 0.0 % well; 1 ValueError",
        "good: 1 calls, 100.0 % well, mean 2 ms, p95 2 ms",
    ]


def test_before_the_first_call_no_rate_is_invented(telemetry: Telemetry, clock: ManualClock) -> None:
    clock.advance(5)
    summary = telemetry.get_summary()
    assert summary["overall_success_rate"] is None
    assert summary["avg_response_time"] is None
    assert summary["uptime_seconds"] == 5


def test_the_summary_is_over_all_components(telemetry: Telemetry) -> None:
    telemetry.record_call("a", 0.1)
    telemetry.record_call("b", 0.3)
    telemetry.record_call("b", 0.3, success=False)
    telemetry.record_metric("tokens", 5)
    summary = telemetry.get_summary()
    assert (summary["total_calls"], summary["total_successful"], summary["total_failed"]) == (3, 2, 1)
    assert summary["success_rate"] == summary["overall_success_rate"] == pytest.approx(66.67, abs=0.01)
    assert summary["avg_response_time"] == pytest.approx(0.2)
    assert (summary["components_tracked"], summary["custom_metrics_tracked"]) == (2, 1)


def test_an_unknown_component_is_an_error_that_names_the_known(telemetry: Telemetry) -> None:
    telemetry.record_call("nlu", 0.1)
    with pytest.raises(NotFound, match=r"'x'.*nlu"):
        telemetry.get_metrics("x")


def test_own_figures_keep_their_last_values_and_what_belongs_to_them(telemetry: Telemetry) -> None:
    for value in range(1100):
        telemetry.record_metric("depth", value, {"agent": "nlu"})
    values = telemetry.get_custom_metric("depth")
    assert (len(values), values[0].value, values[-1].value) == (1000, 100, 1099)
    assert values[0].metadata == {"agent": "nlu"}
    assert telemetry.get_custom_metric("unknown") == []
    exported = json.loads(json.dumps(telemetry.exported(), allow_nan=False))
    assert len(exported["custom_metrics"]["depth"]) == 100
    with pytest.raises(InvalidInput, match="finite"):
        telemetry.record_metric("depth", math.nan)


def test_components_figures_and_error_types_are_bounded(
    telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MAX_COMPONENTS", "MAX_METRICS", "MAX_ERROR_TYPES"):
        monkeypatch.setattr(module, name, 2)
    for name in "abcd":
        telemetry.record_call(name, 0.1)
        telemetry.record_call("a", 0.1, False, name)
        telemetry.record_metric(name, 1)
    assert telemetry.get_metrics().keys() == {"a", "b", OTHER}
    assert telemetry.get_metrics("a")["errors"] == {"a": 1, "b": 1, OTHER: 2}
    assert telemetry.exported()["custom_metrics"].keys() == {"a", "b", OTHER}


def test_a_reset_forgets_everything(telemetry: Telemetry, clock: ManualClock) -> None:
    telemetry.record_call("a", 0.1)
    telemetry.record_metric("m", 1)
    clock.advance(9)
    telemetry.reset()
    assert telemetry.get_metrics() == {}
    assert telemetry.get_summary()["uptime_seconds"] == 0


async def test_a_tracked_coroutine_stays_what_it_was_and_is_timed(
    telemetry: Telemetry, clock: ManualClock
) -> None:
    @telemetry.track("asked")
    async def ask(question: str, *, loud: bool = False) -> str:
        """Ask."""
        clock.advance(0.25)
        return question.upper() if loud else question

    assert await ask("why", loud=True) == "WHY"
    assert (ask.__name__, ask.__doc__) == ("ask", "Ask.")
    assert list(inspect.signature(ask).parameters) == ["question", "loud"]
    assert inspect.iscoroutinefunction(ask)
    assert telemetry.get_metrics("asked")["average_response_time"] == pytest.approx(0.25)


async def test_a_tracked_call_that_raises_counts_with_its_type_and_raises_on(telemetry: Telemetry) -> None:
    @telemetry.track("async")
    async def fail() -> None:
        raise KeyError("k")

    @telemetry.track("sync")
    def fail_too() -> None:
        raise ValueError("v")

    @telemetry.track("sync")
    def well() -> int:
        return 3

    with pytest.raises(KeyError):
        await fail()
    with pytest.raises(ValueError, match="v"):
        fail_too()
    assert well() == 3
    assert telemetry.get_metrics("async")["errors"] == {"KeyError": 1}
    assert telemetry.get_metrics("sync")["errors"] == {"ValueError": 1}
    assert telemetry.get_metrics("sync")["successful_calls"] == 1
