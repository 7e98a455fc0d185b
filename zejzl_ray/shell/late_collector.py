"""Figures of a service on its page, which is served before the service is there."""

from collections.abc import Iterator

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector


class LateCollector(Collector):
    """Collects what ``source`` collects; nothing while that is None.

    Attributes:
        source: set once there is one.
    """

    def __init__(self) -> None:
        self.source: Collector | None = None

    def describe(self) -> list[Metric]:
        """Return nothing: nothing is collected at registration."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the figures."""
        if self.source is not None:
            yield from self.source.collect()
