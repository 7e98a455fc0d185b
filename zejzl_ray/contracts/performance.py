"""Performance figures on the wire: what hosts report to the hub, and what the hub tells.

A report holds what happened since the report before it, so the hub only adds. A host repeats a report unchanged until
it is accepted; the hub counts each (host, boot, sequence) once.
"""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field, StringConstraints

from zejzl_ray.contracts.base import Contract
from zejzl_ray.ids import new_id
from zejzl_ray.metrics.figures import MAX_SERIES
from zejzl_ray.metrics.histogram import BUCKETS

MAX_ROWS: Final = 1000

Name = Annotated[str, StringConstraints(max_length=256)]
_MOST: Final = 2**53  # what every reader of JSON can hold
Count = Annotated[int, Field(ge=0, le=_MOST)]
Samples = Annotated[int, Field(ge=1, le=_MOST)]
Bucket = Annotated[int, Field(ge=0, lt=BUCKETS)]


class Histogram(Contract):
    """Times by bucket, as ``zejzl_ray.metrics.histogram`` counts them; seconds."""

    counts: dict[Bucket, Samples] = Field(default_factory=dict, max_length=BUCKETS)
    sum_s: float = Field(default=0.0, ge=0)
    min_s: float = Field(default=0.0, ge=0)
    max_s: float = Field(default=0.0, ge=0)


class Series(Contract):
    """What one agent did with mail of one type since the report before."""

    agent: Name
    message_type: Name
    sent: Count = Field(default=0, description="mail the agent sent")
    received: Count = Field(default=0, description="mail the agent took out of its mailbox")
    failed: Count = Field(default=0, description="mail whose handler raised")
    dead: Count = Field(default=0, description="mail to the agent that became a dead letter")
    dropped: Count = Field(default=0, description="mail to the agent that gave way to other mail")
    latency: Histogram = Field(default=Histogram(), description="from send to receive")
    handling: Histogram = Field(default=Histogram(), description="inside the handler")


class ReportPerformance(Contract):
    """A host reports what its agents did. Safe to repeat unchanged."""

    request_id: str = Field(default_factory=new_id, min_length=1, max_length=128)
    host: str = Field(min_length=1, max_length=128)
    machine: Name = ""
    boot: str = Field(
        min_length=1, max_length=128, description="changes at every start of the host's process"
    )
    sequence: int = Field(ge=1, description="1, 2, 3 ... within a boot")
    from_s: float = Field(ge=0, description="wall time at which the figures begin")
    at_s: float = Field(ge=0, description="wall time at which they end")
    # the series of the host, and one for what is above the bound
    series: Annotated[tuple[Series, ...], Field(max_length=MAX_SERIES + 1)] = ()


class PerformanceReported(Contract):
    """The report is counted, now or already before."""

    sequence: int
    is_repeated: bool = False


class Window(StrEnum):
    """Which time is asked for."""

    MINUTE = "minute"
    TEN_MINUTES = "ten_minutes"
    START = "start"


class GroupBy(StrEnum):
    """What makes a row."""

    AGENT = "agent"
    TYPE = "type"
    MACHINE = "machine"
    SERIES = "series"


class GetPerformance(Contract):
    """Ask how much mail flows and how fast."""

    window: Window = Window.MINUTE
    by: GroupBy = GroupBy.AGENT
    agent: Name = Field(default="", description="empty: all")
    message_type: Name = Field(default="", description="empty: all")
    machine: Name = Field(default="", description="empty: all")
    limit: int = Field(default=100, ge=1, le=MAX_ROWS)


class Times(Contract):
    """A distribution of times, milliseconds; quantiles are within 4.9 %, all 0 where ``count`` is."""

    count: int = 0
    avg_ms: float = 0.0
    min_ms: float = 0.0
    max_ms: float = 0.0
    p50_ms: float = 0.0
    p95_ms: float = 0.0
    p99_ms: float = 0.0


class PerformanceRow(Contract):
    """Figures of a group; a name is empty where the group is over all of them."""

    agent: str = ""
    message_type: str = ""
    machine: str = ""
    sent: int = 0
    received: int = 0
    failed: int = 0
    dead: int = 0
    dropped: int = 0
    sent_per_s: float = 0.0
    received_per_s: float = 0.0
    latency: Times = Field(default=Times(), description="from send to receive")
    handling: Times = Field(default=Times(), description="inside the handler")


class ReportingHost(Contract):
    """A process that reports."""

    host: str
    machine: str
    last_report_at_s: float
    is_silent: bool = Field(description="nothing came for a minute: its figures have left the last minute")


class BottleneckKind(StrEnum):
    """What is wrong.

    ``slowing``: handlers take 1.5 times their usual time, and more than the agent's metadata names as ``expected_s``
    (5 s where it names none). ``failing``: more than 30 % of them fail. ``agent``: the registry says it is not well.
    """

    SLOWING = "slowing"
    FAILING = "failing"
    AGENT = "agent"


class Bottleneck(Contract):
    """Something that holds the fleet up, the worst first."""

    kind: BottleneckKind
    agent: str
    message_type: str = ""
    impact: float = Field(ge=0, le=100, description="percent")
    reason: str


class Performance(Contract):
    """The busiest groups first, and the sum over everything that was asked for."""

    window: Window
    at_s: float
    seconds: float = Field(ge=0, description="time that the window covers; rates are per second of it")
    rows: tuple[PerformanceRow, ...]
    rows_left_out: int = 0
    total: PerformanceRow
    hosts: tuple[ReportingHost, ...]
    bottlenecks: tuple[Bottleneck, ...] = ()
    folded: int = Field(default=0, description="series counted as (other), since there were too many")
