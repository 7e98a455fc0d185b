"""Figures of mail that the hub adds up, small while few buckets of a histogram are in use."""

from dataclasses import dataclass, field
from typing import Final

from zejzl_ray.contracts.performance import Histogram, PerformanceRow, Series, Times
from zejzl_ray.errors import InvalidInput
from zejzl_ray.metrics.histogram import LatencyHistogram

FlowKey = tuple[str, str, str]
"""Machine, agent, message type."""

_NUMBERS: Final = ("sent", "received", "failed", "dead", "dropped")


class SparseTimes:
    """A histogram that holds only the buckets in use."""

    __slots__ = ("counts", "max_s", "min_s", "sum_s")

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        self.sum_s = 0.0
        self.min_s = 0.0
        self.max_s = 0.0

    @property
    def count(self) -> int:
        """Number of samples."""
        return sum(self.counts.values())

    @property
    def mean_s(self) -> float:
        """Mean of the samples, seconds; 0 without samples."""
        return self.sum_s / count if (count := self.count) else 0.0

    def add(self, other: "SparseTimes | Histogram") -> None:
        """Add the samples of another one."""
        if not other.counts:
            return
        self.min_s = min(self.min_s, other.min_s) if self.counts else other.min_s
        self.max_s = max(self.max_s, other.max_s)
        self.sum_s += other.sum_s
        for bucket, size in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + size

    def histogram(self) -> LatencyHistogram:
        """Return the same samples with all buckets."""
        return LatencyHistogram.from_dict(
            {"counts": self.counts, "sum_s": self.sum_s, "min_s": self.min_s, "max_s": self.max_s}
        )

    def times(self) -> Times:
        """Return mean, ends and quantiles."""
        if not self.counts:
            return Times()
        spread = self.histogram().spread()
        return Times(
            count=spread.count,
            avg_ms=spread.avg_ms,
            min_ms=spread.min_ms,
            max_ms=spread.max_ms,
            p50_ms=spread.p50_ms,
            p95_ms=spread.p95_ms,
            p99_ms=spread.p99_ms,
        )


@dataclass(slots=True)
class Flow:
    """What was counted for a key; see ``Series``. ``last_at_s`` is the last time anything was."""

    sent: int = 0
    received: int = 0
    failed: int = 0
    dead: int = 0
    dropped: int = 0
    last_at_s: float = 0.0
    latency: SparseTimes = field(default_factory=SparseTimes)
    handling: SparseTimes = field(default_factory=SparseTimes)

    def add(self, other: "Flow | Series") -> None:
        """Add what another one counted."""
        self.sent += other.sent
        self.received += other.received
        self.failed += other.failed
        self.dead += other.dead
        self.dropped += other.dropped
        self.latency.add(other.latency)
        self.handling.add(other.handling)

    def row(self, key: FlowKey, seconds: float) -> PerformanceRow:
        """Return it for the wire.

        Args:
            key: names that the row is about; empty ones are over all.
            seconds: the time it was counted in.
        """
        machine, agent, message_type = key
        return PerformanceRow(
            agent=agent,
            message_type=message_type,
            machine=machine,
            **{name: getattr(self, name) for name in _NUMBERS},
            sent_per_s=self.sent / seconds if seconds > 0 else 0.0,
            received_per_s=self.received / seconds if seconds > 0 else 0.0,
            latency=self.latency.times(),
            handling=self.handling.times(),
        )


def check_series(series: Series) -> None:
    """Refuse a report that no histogram could have made.

    Raises:
        InvalidInput: names the series.
    """
    for what, histogram in (("latency", series.latency), ("handling", series.handling)):
        if histogram.min_s > histogram.max_s:
            raise InvalidInput(
                f"The {what} of {series.agent}/{series.message_type} goes from {histogram.min_s} s down to "
                f"{histogram.max_s} s.",
                "Report what LatencyHistogram.to_dict gives.",
            )
