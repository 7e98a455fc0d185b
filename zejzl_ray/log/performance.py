"""How long things took: a line for each, and the last ones in memory."""

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from zejzl_ray.log.lines import PERFORMANCE_KEY
from zejzl_ray.log.setup import get_logger

_MEANT: Final = 100  # last records over which the means of a snapshot are taken


def log_performance(operation: str, duration_s: float, /, **metrics: Any) -> None:
    """Write how long something took into ``<service>.performance.log``, and as a line like all others.

    Args:
        operation: what was done.
        duration_s: how long it took.
        **metrics: further figures; they stand under ``metrics``.
    """
    event = {"operation": operation, "duration_ms": round(duration_s * 1000, 3), "metrics": metrics}
    get_logger("zejzl.performance").info(f"Performance: {operation}", **event, **{PERFORMANCE_KEY: True})


@dataclass(frozen=True, slots=True)
class PerformanceRecord:
    """One thing that was measured."""

    at_s: float
    operation: str
    duration_s: float
    is_error: bool = False
    metrics: Mapping[str, Any] = field(default_factory=dict)


class PerformanceHistory:
    """The last records, the oldest forgotten first.

    Args:
        kept: how many.
    """

    def __init__(self, kept: int = 1000) -> None:
        self._records: deque[PerformanceRecord] = deque(maxlen=kept)
        self._count = 0

    def record(
        self,
        operation: str,
        duration_s: float,
        /,
        *,
        is_error: bool = False,
        at_s: float | None = None,
        **metrics: Any,
    ) -> None:
        """Keep a record; ``at_s`` is wall time, now where none is given."""
        now_s = time.time() if at_s is None else at_s
        self._records.append(PerformanceRecord(now_s, operation, duration_s, is_error, metrics))
        self._count += 1

    def last(self, count: int) -> list[PerformanceRecord]:
        """Return the last records, oldest first."""
        return list(self._records)[-count:] if count > 0 else []

    def summary(self) -> dict[str, float]:
        """Return ``total_requests`` since the start, and over the last 100 the mean time and the share of errors."""
        last = self.last(_MEANT)
        count = max(1, len(last))
        return {
            "total_requests": self._count,
            "avg_response_time_s": sum(record.duration_s for record in last) / count,
            "error_ratio": sum(record.is_error for record in last) / count,
        }
