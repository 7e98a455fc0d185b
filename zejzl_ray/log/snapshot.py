"""A picture of a process or a machine for whoever looks for a fault: pure data from what it is given."""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any, Final

from zejzl_ray.log.performance import PerformanceHistory
from zejzl_ray.log.tracking import RequestTracker

_RECENT: Final = 50


def debug_snapshot(
    taken_at_s: float,
    *,
    system: Mapping[str, Any] | None = None,
    agents: Mapping[str, Any] | None = None,
    bus: Mapping[str, Any] | None = None,
    deadlocks: Iterable[Any] = (),
    tracker: RequestTracker | None = None,
    history: PerformanceHistory | None = None,
) -> dict[str, Any]:
    """Return everything in one dictionary; a part that nobody gives is empty.

    Args:
        taken_at_s: wall time.
        system: as ``zejzl_ray.machine.system_info.read_system_info`` returns it.
        agents: agent -> what is known of it.
        bus: figures of the message bus.
        deadlocks: those that were found.
        tracker: gives the requests that are under way.
        history: gives performance, and the last 50 records.
    """
    recent = [] if history is None else [asdict(record) for record in history.last(_RECENT)]
    return {
        "timestamp": taken_at_s,
        "system_info": dict(system or {}),
        "agent_states": dict(agents or {}),
        "bus": dict(bus or {}),
        "deadlocks": list(deadlocks),
        "active_requests": [] if tracker is None else [asdict(request) for request in tracker.active()],
        "performance_metrics": {} if history is None else history.summary(),
        "recent_logs": recent,
    }


class DebugSnapshots:
    """The last snapshots; the oldest is forgotten first.

    Args:
        kept: how many.
    """

    def __init__(self, kept: int = 10) -> None:
        self._snapshots: deque[dict[str, Any]] = deque(maxlen=kept)

    def add(self, snapshot: dict[str, Any]) -> None:
        """Keep a snapshot."""
        self._snapshots.append(snapshot)

    def all(self) -> list[dict[str, Any]]:
        """Return them, oldest first."""
        return list(self._snapshots)
