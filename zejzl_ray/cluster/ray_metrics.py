"""Figures of a process in Ray's own metrics, so that they stand in Ray's dashboard and its Prometheus page.

Ray's histogram takes one sample a call (about 2 microseconds), and it has no way to take many at once. So the times
are counted here, and Ray gets what can be set at once: quantiles of the last period as gauges, and the number and sum
of all samples as counters. True histograms, of all processes together, stand on the hub's page:
``zejzl_ray/observability/performance_collector.py``.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Protocol

import structlog
from ray.util.metrics import Counter, Gauge

from zejzl_ray.metrics import readings as names
from zejzl_ray.metrics.figures import FiguresSnapshot, MailFigures, since
from zejzl_ray.metrics.histogram import LatencyHistogram
from zejzl_ray.metrics.readings import (
    Labels,
    Metric,
    ProcessReadings,
    counter_values,
    fold_types,
    gauge_values,
)

_log = structlog.get_logger(component="metrics")

PERIOD_S: Final = 5.0
_QUANTILES: Final = {"0.5": 0.5, "0.95": 0.95, "0.99": 0.99}


class CounterLike(Protocol):
    """Ray's counter."""

    def inc(self, value: int | float, tags: dict[str, str]) -> None:
        """Add."""
        ...


class GaugeLike(Protocol):
    """Ray's gauge."""

    def set(self, value: int | float, tags: dict[str, str]) -> None:
        """Set."""
        ...


class RayMetricsExport:
    """Hands the figures of this process to Ray every few seconds.

    Args:
        figures: of its mail.
        read: returns what else there is to say.
        host: name of this process in the labels of gauges, which differ between processes.
        new_counter: makes a counter from name, description and label names.
        new_gauge: likewise.
    """

    def __init__(
        self,
        figures: MailFigures,
        read: Callable[[], ProcessReadings] = ProcessReadings,
        *,
        host: str = "",
        new_counter: Callable[[str, str, tuple[str, ...]], CounterLike] = Counter,
        new_gauge: Callable[[str, str, tuple[str, ...]], GaugeLike] = Gauge,
    ) -> None:
        self._figures = figures
        self._read = read
        self._host = host
        self._new_counter = new_counter
        self._new_gauge = new_gauge
        self._counters: dict[str, CounterLike] = {}
        self._gauges: dict[str, GaugeLike] = {}
        self._exported = FiguresSnapshot()
        self._types: set[str] = set()
        self._set: dict[Metric, set[Labels]] = {}

    def export(self) -> None:
        """Hand over what happened since the call before; blocks for about a millisecond per hundred labels."""
        snapshot = self._figures.snapshot(self._exported)
        window = since(snapshot, self._exported)
        self._exported = snapshot
        by_type = fold_types(((key[1], series) for key, series in window.series.items()), self._types)
        for metric, values in counter_values(by_type, window.events).items():
            for labels, value in values.items():
                self._count(metric, labels, value)
        self._times(names.LATENCY, names.LATENCY_TEXT, {name: each.latency for name, each in by_type.items()})
        self._times(
            names.HANDLING, names.HANDLING_TEXT, {name: each.handling for name, each in by_type.items()}
        )
        for metric, values in gauge_values(self._read()).items():
            gone = self._set.get(metric, set()) - values.keys()
            for labels in gone:  # Ray would show the last value for ever
                self._show(metric, labels, 0)
            for labels, value in values.items():
                self._show(metric, labels, value)
            self._set[metric] = set(values)

    async def run(
        self, period_s: float = PERIOD_S, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        """Export every period until cancelled; a failure is logged once and does not end it."""
        trouble = ""
        while True:
            try:
                self.export()
                trouble = ""
            except Exception as error:  # figures are no reason to stop mail
                if str(error) != trouble:
                    _log.warning("figures are not handed to Ray", reason=str(error))
                trouble = str(error)
            await sleep(period_s)

    def _times(self, name: str, text: str, by_type: Mapping[str, LatencyHistogram]) -> None:
        for message_type, histogram in by_type.items():
            count = histogram.count
            if not count:
                continue
            quantiles = histogram.quantiles(*_QUANTILES.values())
            for quantile, seconds in zip(_QUANTILES, quantiles, strict=True):
                gauge = Metric(name, "gauge", f"{text}, of the last seconds", ("type", "quantile"))
                self._show(gauge, (message_type, quantile), seconds)
            self._count(Metric(f"{name}_count", "counter", text, ("type",)), (message_type,), count)
            if histogram.sum_s > 0:
                self._count(
                    Metric(f"{name}_sum", "counter", text, ("type",)), (message_type,), histogram.sum_s
                )

    def _count(self, metric: Metric, labels: Labels, value: float) -> None:
        counter = self._counters.get(metric.name)
        if counter is None:
            counter = self._counters[metric.name] = self._new_counter(metric.name, metric.text, metric.labels)
        counter.inc(value, dict(zip(metric.labels, labels, strict=True)))

    def _show(self, metric: Metric, labels: Labels, value: float) -> None:
        gauge = self._gauges.get(metric.name)
        if gauge is None:
            gauge = self._new_gauge(metric.name, metric.text, (*metric.labels, "host"))
            self._gauges[metric.name] = gauge
        gauge.set(value, {**dict(zip(metric.labels, labels, strict=True)), "host": self._host})
