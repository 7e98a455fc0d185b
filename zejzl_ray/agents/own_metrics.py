"""What an agent counts and measures itself."""

import math
from typing import Final

from pydantic import JsonValue

from zejzl_ray.metrics.counters import Counters
from zejzl_ray.metrics.histogram import LatencyHistogram

_MOST_NAMES: Final = 100


class AgentMetrics:
    """Counters, gauges and times of one agent; at most 100 names of each, later ones are left out.

    They start from zero when the agent is restarted.
    """

    def __init__(self) -> None:
        self._counters = Counters(max_names=_MOST_NAMES)
        self._gauges: dict[str, float] = {}
        self._times: dict[str, LatencyHistogram] = {}

    def count(self, name: str, label: str = "", by: int = 1) -> None:
        """Count ``by`` more of something; ``label`` tells kinds apart."""
        self._counters.add(name, label, by)

    def set(self, name: str, value: float) -> None:
        """Tell how much of something there is now; what is no finite number is left out."""
        if math.isfinite(value) and (name in self._gauges or len(self._gauges) < _MOST_NAMES):
            self._gauges[name] = value

    def time(self, name: str, duration_s: float) -> None:
        """Measure how long something took, seconds."""
        histogram = self._times.get(name)
        if histogram is None:
            if len(self._times) >= _MOST_NAMES:
                return
            histogram = self._times[name] = LatencyHistogram()
        histogram.record(duration_s)

    def snapshot(self) -> dict[str, JsonValue]:
        """Return all of it: counts by ``name`` or ``name{label}``, gauges by name, times as milliseconds."""
        found: dict[str, JsonValue] = {
            f"{name}{{{label}}}" if label else name: count
            for (name, label), count in self._counters.values().items()
        }
        found.update(self._gauges)
        for name, histogram in self._times.items():
            spread = histogram.spread()
            found[name] = {
                "count": spread.count,
                "p50_ms": spread.p50_ms,
                "p95_ms": spread.p95_ms,
                "max_ms": spread.max_ms,
            }
        return found
