"""Figures of the whole fleet for the Prometheus page of the hub, so that one scrape sees all machines."""

from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from zejzl_ray.metrics.counters import OTHER
from zejzl_ray.metrics.prometheus_text import histogram_family
from zejzl_ray.metrics.readings import MAX_TYPES
from zejzl_ray.observability.performance import PerformanceBook
from zejzl_ray.observability.performance_flow import Flow

_COUNTS: Final[dict[str, tuple[str, Callable[[Flow], int]]]] = {
    "fleet_messages_total": ("messages sent", lambda flow: flow.sent),
    "fleet_received_total": ("messages taken out of mailboxes", lambda flow: flow.received),
    "fleet_failed_total": ("messages whose handler raised", lambda flow: flow.failed),
    "fleet_dead_letters_total": ("messages nobody could get", lambda flow: flow.dead),
    "fleet_dropped_total": ("messages that gave way", lambda flow: flow.dropped),
}


class PerformanceCollector(Collector):
    """Collects a ``PerformanceBook`` when somebody asks; register it in the hub's registry.

    The first 100 message types are named, later ones are ``(other)``; single agents are not, see ``zejzl performance``.

    Args:
        book: what hosts reported.
        now_s: returns the wall time.
    """

    def __init__(self, book: PerformanceBook, now_s: Callable[[], float]) -> None:
        self._book = book
        self._now_s = now_s
        self._types: set[str] = set()

    def describe(self) -> list[Metric]:
        """Return nothing: nothing is collected at registration."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the figures since the hub began."""
        groups: dict[tuple[str, str], Flow] = {}
        for (machine, _, message_type), flow in self._book.flows_since_start():
            groups.setdefault((machine, self._named(message_type)), Flow()).add(flow)
        for name, (text, pick) in _COUNTS.items():
            counter = CounterMetricFamily(name, text, labels=("machine", "type"))
            for labels, flow in groups.items():
                counter.add_metric(labels, pick(flow))
            yield counter
        by_type: dict[str, Flow] = {}
        for (_, message_type), flow in groups.items():
            by_type.setdefault(message_type, Flow()).add(flow)
        latency = {name: flow.latency.histogram() for name, flow in by_type.items()}
        yield histogram_family("fleet_delivery_latency_seconds", "from send to receive", latency)
        handling = {name: flow.handling.histogram() for name, flow in by_type.items()}
        yield histogram_family("fleet_handling_seconds", "inside the handler", handling)
        hosts = self._book.hosts(self._now_s())
        reporting = GaugeMetricFamily("fleet_hosts", "processes that report", labels=("state",))
        silent = sum(host.is_silent for host in hosts)
        reporting.add_metric(("reporting",), len(hosts) - silent)
        reporting.add_metric(("silent",), silent)
        yield reporting

    def _named(self, message_type: str) -> str:
        if message_type not in self._types and len(self._types) < MAX_TYPES:
            self._types.add(message_type)
        return message_type if message_type in self._types else OTHER
