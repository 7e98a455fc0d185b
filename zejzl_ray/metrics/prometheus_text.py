"""Figures of a process as Prometheus text; the library writes and escapes it."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from zejzl_ray.metrics import readings as names
from zejzl_ray.metrics.figures import MailFigures
from zejzl_ray.metrics.histogram import BOUNDS_S, LatencyHistogram
from zejzl_ray.metrics.readings import ProcessReadings, counter_values, fold_types, gauge_values

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
# Every twelfth bound, a factor of 3.1: what Prometheus needs for a picture, at 20 lines a type.
_ENDS_S: Final = BOUNDS_S[::12]


class MailCollector(Collector):
    """Collects the figures of a process when somebody asks; register it in the process' registry.

    Counters hold since the start of the process and never go down. The first 100 message types are named.

    Args:
        figures: of its mail.
        read: returns what else there is to say; called at each collection.
    """

    def __init__(self, figures: MailFigures, read: Callable[[], ProcessReadings] = ProcessReadings) -> None:
        self._figures = figures
        self._read = read
        self._types: set[str] = set()

    def describe(self) -> list[Metric]:
        """Return nothing: names are checked when they are collected, and nothing is collected at registration."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the figures as they are now."""
        by_type = fold_types(self._figures.by_type().items(), self._types)
        for metric, values in counter_values(by_type, self._figures.events.values()).items():
            counter = CounterMetricFamily(metric.name, metric.text, labels=metric.labels)
            for labels, value in values.items():
                counter.add_metric(labels, value)
            yield counter
        for metric, values in gauge_values(self._read()).items():
            gauge = GaugeMetricFamily(metric.name, metric.text, labels=metric.labels)
            for labels, value in values.items():
                gauge.add_metric(labels, value)
            yield gauge
        latency = {name: series.latency for name, series in by_type.items()}
        yield histogram_family(names.LATENCY, names.LATENCY_TEXT, latency)
        handling = {name: series.handling for name, series in by_type.items()}
        yield histogram_family(names.HANDLING, names.HANDLING_TEXT, handling)


def prometheus_text(figures: MailFigures, read: Callable[[], ProcessReadings] = ProcessReadings) -> bytes:
    """Return the page of a process: its mail, and its CPU time, memory and open files.

    It is encoded already: send it as it is, as ``CONTENT_TYPE``.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(MailCollector(figures, read))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


def histogram_family(name: str, text: str, by_type: Mapping[str, LatencyHistogram]) -> HistogramMetricFamily:
    """Return histograms as Prometheus has them, by message type; empty ones are left out."""
    family = HistogramMetricFamily(name, text, labels=("type",))
    for message_type, histogram in by_type.items():
        if histogram.count:
            family.add_metric((message_type,), _cumulated(histogram), histogram.sum_s)
    return family


def _cumulated(histogram: LatencyHistogram) -> list[tuple[str, float]]:
    """Return samples up to each end; a sample right on an end counts above it, 1 in very many."""
    filled = histogram.buckets()
    found: list[tuple[str, float]] = []
    passed, position = 0, 0
    for end_s in (*_ENDS_S, math.inf):
        while position < len(filled) and filled[position][0] <= end_s:
            passed += filled[position][1]
            position += 1
        found.append(("+Inf" if end_s == math.inf else repr(end_s), passed))
    return found
