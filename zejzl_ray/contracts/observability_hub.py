"""observability_hub on the wire: deadlocks, and all its operations.

The models of performance and logs stand in ``performance`` and ``logs``.
"""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.logs import FleetLogPage, ReadFleetLogs
from zejzl_ray.contracts.operation import Operation, OperationsOf
from zejzl_ray.contracts.performance import (
    GetPerformance,
    Performance,
    PerformanceReported,
    ReportPerformance,
)
from zejzl_ray.contracts.waits import Deadlock, Name, ReportWaits, WaitsReported

SERVICE: Final = "observability_hub"
MAX_PAGE: Final = 1000


class DeadlockEvent(Contract):
    """A deadlock that was found; ``revision`` counts them from 1, over restarts of the hub too."""

    revision: int = Field(ge=1)
    deadlock: Deadlock


class ListDeadlocks(Contract):
    """Read the deadlocks that are kept, newest first."""

    agent: Name | None = Field(default=None, description="only those with this agent")
    before_revision: int | None = Field(default=None, ge=1)
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = 100


class DeadlockPage(Contract):
    """Deadlocks, newest first; ``oldest_kept_revision`` tells how far back they go, 0 where none is kept."""

    events: tuple[DeadlockEvent, ...]
    revision: int = Field(description="of the newest one of all")
    oldest_kept_revision: int


class WatchDeadlocks(Contract):
    """Wait for deadlocks after ``from_revision``; null means from now on."""

    from_revision: int | None = Field(default=None, ge=0)
    timeout_s: Annotated[float, Field(ge=0, le=60)] = 20.0
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = 100


class DeadlockBatch(Contract):
    """Deadlocks in the order of finding; empty when none was found within the time. Watch on from ``revision``."""

    events: tuple[DeadlockEvent, ...]
    revision: int


class WaitCondition(StrEnum):
    """What an agent does, from the last report of its host."""

    IDLE = "idle"  # nothing to do: no handler runs and no request waits
    WORKING = "working"
    WAITING = "waiting"  # all of its handlers wait for replies that can still come
    STALLED = "stalled"  # one of its handlers runs for longer than the limit
    DEADLOCKED = "deadlocked"  # all of its handlers wait for replies that cannot come


class AgentCondition(Contract):
    """One agent of a host that reports."""

    agent: str
    host: str
    condition: WaitCondition
    handlers: int = Field(description="that run")
    slots: int = Field(description="that may run at once")
    queued_requests: int
    longest_s: float = Field(description="how long its oldest handler runs, seconds; 0 when none runs")
    reported_s: float = Field(description="age of the report, seconds")


class GetDeadlockStatus(Contract):
    """Ask what is watched, and what was found."""

    agent: Name | None = Field(default=None, description="only this agent")
    condition: WaitCondition | None = Field(default=None, description="only agents in this condition")
    limit: Annotated[int, Field(ge=1, le=10_000)] = MAX_PAGE


class DeadlockStatus(Contract):
    """What is watched now. A host reports while one of its agents waits for a reply; the others are not stuck."""

    detected: int = Field(description="deadlocks found, over restarts of the hub too")
    broken: int = Field(description="of these, ended by failing a request")
    hosts: int = Field(description="that reported within the last seconds")
    agents_monitored: int
    by_condition: dict[str, int]
    agents: tuple[AgentCondition, ...] = Field(description="the worst first")
    breaks_youngest: bool = Field(description="whether the policy ends deadlocks")


_op: Final = OperationsOf(SERVICE)

OPERATIONS: Final[tuple[Operation, ...]] = (
    # reports go over handles only: the hosts are actors
    _op("report_waits", ReportWaits, WaitsReported, "waits:report"),
    _op("list_deadlocks", ListDeadlocks, DeadlockPage, "waits:read", "GET", "/v1/deadlocks"),
    _op("watch_deadlocks", WatchDeadlocks, DeadlockBatch, "waits:read", "GET", "/v1/deadlocks/watch"),
    _op(
        "get_deadlock_status", GetDeadlockStatus, DeadlockStatus, "waits:read", "GET", "/v1/deadlocks/status"
    ),
    _op("report_performance", ReportPerformance, PerformanceReported, "performance:report"),
    _op("get_performance", GetPerformance, Performance, "performance:read", "GET", "/v1/performance"),
    _op("read_logs", ReadFleetLogs, FleetLogPage, "logs:read", "GET", "/v1/logs"),
)
