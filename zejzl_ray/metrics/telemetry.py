"""Calls of components, timed: counts, quantiles, errors by type, and figures that a component adds itself."""

import functools
import inspect
import math
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, ParamSpec, TypeVar, cast

from zejzl_ray.clock import Clock, SystemClock
from zejzl_ray.errors import InvalidInput, NotFound
from zejzl_ray.metrics.counters import OTHER
from zejzl_ray.metrics.histogram import LatencyHistogram

P = ParamSpec("P")
R = TypeVar("R")

MAX_COMPONENTS: Final = 500
MAX_METRICS: Final = 200
MAX_ERROR_TYPES: Final = 50
SNAPSHOTS: Final = 1000
_EXPORTED: Final = 100
_UNKNOWN_ERROR: Final = "unknown"


@dataclass(frozen=True, slots=True)
class MetricSnapshot:
    """One value of a figure that a component added itself."""

    at_s: float
    value: float
    metadata: Mapping[str, Any]


@dataclass(slots=True)
class _Component:
    succeeded: int = 0
    failed: int = 0
    times: LatencyHistogram = field(default_factory=LatencyHistogram)
    errors: dict[str, int] = field(default_factory=dict)
    last_call_at_s: float = 0.0

    def told(self) -> dict[str, Any]:
        """Return the figures; times are of calls that succeeded, None where there were none."""
        calls = self.succeeded + self.failed
        spread = self.times.spread()
        has_times = spread.count > 0
        return {
            "total_calls": calls,
            "successful_calls": self.succeeded,
            "failed_calls": self.failed,
            "success_rate": 100 * self.succeeded / calls if calls else None,
            "average_response_time": spread.avg_ms / 1e3 if has_times else None,
            "min_response_time": spread.min_ms / 1e3 if has_times else None,
            "max_response_time": spread.max_ms / 1e3 if has_times else None,
            "p50_response_time": spread.p50_ms / 1e3 if has_times else None,
            "p95_response_time": spread.p95_ms / 1e3 if has_times else None,
            "p99_response_time": spread.p99_ms / 1e3 if has_times else None,
            "errors": dict(self.errors),
            "last_call_timestamp": self.last_call_at_s or None,
        }


class Telemetry:
    """Figures of components, bounded in memory.

    Above 500 components, 200 own figures or 50 types of errors a component, new ones count as ``(other)``.

    Args:
        clock: time.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self.reset()

    def reset(self) -> None:
        """Forget everything and begin anew."""
        self._began_s = self._clock.monotonic_s()
        self._components: dict[str, _Component] = {}
        self._metrics: dict[str, deque[MetricSnapshot]] = {}

    def record_call(
        self, component: str, response_time: float, success: bool = True, error_type: str | None = None
    ) -> None:
        """Count a call; its time counts where it succeeded, its type of error where it failed.

        Args:
            component: who was called.
            response_time: seconds.
            success: whether it did what it should.
            error_type: such as the name of the exception's class.
        """
        if component not in self._components and len(self._components) >= MAX_COMPONENTS:
            component = OTHER
        found = self._components.setdefault(component, _Component())
        found.last_call_at_s = self._clock.now_s()
        if success:
            found.succeeded += 1
            found.times.record(response_time)
            return
        found.failed += 1
        kind = error_type or _UNKNOWN_ERROR
        if kind not in found.errors and len(found.errors) >= MAX_ERROR_TYPES:
            kind = OTHER
        found.errors[kind] = found.errors.get(kind, 0) + 1

    def record_metric(self, name: str, value: float, metadata: Mapping[str, Any] | None = None) -> None:
        """Keep a value of a figure; the last 1000 of each name stay.

        Raises:
            InvalidInput: the value is no finite number.
        """
        if not math.isfinite(value):
            raise InvalidInput(f"The figure {name!r} is {value}.", "Give a finite number.")
        if name not in self._metrics and len(self._metrics) >= MAX_METRICS:
            name = OTHER
        values = self._metrics.setdefault(name, deque(maxlen=SNAPSHOTS))
        values.append(MetricSnapshot(self._clock.now_s(), value, dict(metadata or {})))

    def get_metrics(self, component: str | None = None) -> dict[str, Any]:
        """Return the figures of one component, or of all by name. Times in seconds, success rate in percent.

        Raises:
            NotFound: nothing was recorded for that component.
        """
        if component is None:
            return {name: found.told() for name, found in self._components.items()}
        if component not in self._components:
            known = ", ".join(sorted(self._components)[:20]) or "none"
            raise NotFound(f"Nothing was recorded for {component!r}.", f"Recorded: {known}.")
        return self._components[component].told()

    def get_custom_metric(self, name: str) -> list[MetricSnapshot]:
        """Return the kept values of a figure, oldest first; none of an unknown one."""
        return list(self._metrics.get(name, ()))

    def get_summary(self) -> dict[str, Any]:
        """Return the sums over all components; rates and times are None before the first call."""
        succeeded = sum(found.succeeded for found in self._components.values())
        failed = sum(found.failed for found in self._components.values())
        whole = LatencyHistogram()
        for found in self._components.values():
            whole.merge(found.times)
        rate = 100 * succeeded / (succeeded + failed) if succeeded + failed else None
        return {
            "uptime_seconds": self._clock.monotonic_s() - self._began_s,
            "total_calls": succeeded + failed,
            "total_successful": succeeded,
            "total_failed": failed,
            "overall_success_rate": rate,
            "success_rate": rate,  # the name that the old dashboard reads
            "avg_response_time": whole.mean_s if succeeded else None,
            "components_tracked": len(self._components),
            "custom_metrics_tracked": len(self._metrics),
        }

    def get_report(self) -> str:
        """Return a line for each component, the busiest first."""
        summary = self.get_summary()
        lines = [f"{summary['total_calls']} calls, {summary['total_failed']} failed"]
        by_calls = sorted(self.get_metrics().items(), key=lambda item: (-item[1]["total_calls"], item[0]))
        lines += [f"{name}: {_line(told)}" for name, told in by_calls]
        return "\n".join(lines)

    def exported(self) -> dict[str, Any]:
        """Return everything as JSON can hold it, with the last 100 values of each own figure."""
        return {
            "summary": self.get_summary(),
            "metrics": self.get_metrics(),
            "custom_metrics": {
                name: [
                    {"timestamp": each.at_s, "value": each.value, "metadata": dict(each.metadata)}
                    for each in list(values)[-_EXPORTED:]
                ]
                for name, values in self._metrics.items()
            },
            "exported_at": self._clock.now_s(),
        }

    def track(self, component: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Return a decorator that times a function or coroutine function and counts how it ended.

        The function keeps its name, signature and documentation; exceptions pass through. A cancelled call counts as
        a failure of type ``CancelledError``.
        """

        def decorate(function: Callable[P, R]) -> Callable[P, R]:
            if inspect.iscoroutinefunction(function):
                return cast(Callable[P, R], self._tracked_async(component, function))

            @functools.wraps(function)
            def timed(*args: P.args, **kwargs: P.kwargs) -> R:
                began_s = self._clock.monotonic_s()
                try:
                    result = function(*args, **kwargs)
                except BaseException as error:
                    self._ended(component, began_s, error)
                    raise
                self._ended(component, began_s, None)
                return result

            return timed

        return decorate

    def _tracked_async(
        self, component: str, function: Callable[P, Awaitable[Any]]
    ) -> Callable[P, Awaitable[Any]]:
        @functools.wraps(function)
        async def timed(*args: P.args, **kwargs: P.kwargs) -> Any:
            began_s = self._clock.monotonic_s()
            try:
                result = await function(*args, **kwargs)
            except BaseException as error:
                self._ended(component, began_s, error)
                raise
            self._ended(component, began_s, None)
            return result

        return timed

    def _ended(self, component: str, began_s: float, error: BaseException | None) -> None:
        kind = None if error is None else type(error).__name__
        self.record_call(component, self._clock.monotonic_s() - began_s, error is None, kind)


def _line(told: Mapping[str, Any]) -> str:
    text = f"{told['total_calls']} calls, {told['success_rate']:.1f} % well"
    if told["average_response_time"] is not None:
        p95_ms = 1e3 * told["p95_response_time"]
        text += f", mean {1e3 * told['average_response_time']:.3g} ms, p95 {p95_ms:.3g} ms"
    if told["errors"]:
        worst = sorted(told["errors"].items(), key=lambda item: (-item[1], item[0]))
        text += "; " + ", ".join(f"{count} {kind}" for kind, count in worst)
    return text
