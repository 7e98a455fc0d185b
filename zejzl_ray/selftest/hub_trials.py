"""How each operation of observability_hub is tried: what is told is read, what is reported comes from nobody."""

from typing import Final

from zejzl_ray.contracts import observability_hub as wire
from zejzl_ray.contracts.logs import ReadFleetLogs
from zejzl_ray.contracts.performance import GetPerformance, ReportPerformance
from zejzl_ray.contracts.waits import ReportWaits
from zejzl_ray.selftest.trial import Trial, without_right


def _key(name: str) -> str:
    return f"{wire.SERVICE}.{name}"


TRIALS: Final = (
    without_right(
        _key("report_waits"),
        lambda bench: ReportWaits(host=bench.name, boot=bench.name, sequence=0, at_s=bench.now_s),
    ),
    Trial(_key("list_deadlocks"), "one row", lambda _: wire.ListDeadlocks(limit=1)),
    Trial(_key("watch_deadlocks"), "without waiting", lambda _: wire.WatchDeadlocks(timeout_s=0)),
    Trial(_key("get_deadlock_status"), "one row", lambda _: wire.GetDeadlockStatus(limit=1)),
    without_right(
        _key("report_performance"),
        lambda bench: ReportPerformance(
            host=bench.name, boot=bench.name, sequence=1, from_s=bench.now_s, at_s=bench.now_s
        ),
    ),
    Trial(_key("get_performance"), "one row", lambda _: GetPerformance(limit=1)),
    Trial(_key("read_logs"), "one line of all machines", lambda _: ReadFleetLogs(limit=1)),
)
