"""The state of a machine over time: checks in a ring, trends, and what to do."""

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Literal, Protocol, cast

import structlog

from zejzl_ray.contracts.machines import MachineCondition, MachineSnapshot
from zejzl_ray.errors import DeadlineExceeded
from zejzl_ray.machine.severity import MachineCheck, Measured, Severity, judge, mean, shown, word

_log = structlog.get_logger(component="machine")

HISTORY: Final = 100
FEWEST_FOR_TRENDS: Final = 10
_RECENT: Final = 20
_TREND_POINTS: Final = 5.0
_FEWEST_HEALTHY_PERCENT: Final = 95.0
# From where on something should be done, though it is no finding yet.
_ADVICE: Final = {
    "cpu": (80.0, "move agents to another machine, or find what computes: `zejzl performance`"),
    "memory": (80.0, "move agents to another machine, or stop what holds memory"),
    "disk": (85.0, "remove what is not needed, old logs first"),
    "gpu_memory": (90.0, "give agents less `vram_mib`, or move one to another card"),
    "response_ms": (1000.0, "look for the slow handler: `zejzl performance --by series`"),
    "error_percent": (5.0, "read the errors: `zejzl logs --level error`"),
}


@dataclass(frozen=True, slots=True)
class Trends:
    """How the last 20 checks differ from those before.

    Attributes:
        checks: number of checks that are kept.
        averages: name -> mean of the last 20.
        changes: name -> that mean minus the one of the 20 before, or of all before where they are fewer; 0 without.
        statuses: name of a severity -> number of checks.
        healthy_percent: share of the checks that found nothing.
    """

    checks: int
    averages: dict[str, float]
    changes: dict[str, float]
    statuses: dict[str, int]
    healthy_percent: float


@dataclass(frozen=True, slots=True)
class MachineReport:
    """Everything the monitor can say.

    Attributes:
        monitored_s: time between the first and the latest check that are kept.
        latest: the latest check.
        trends: None before the tenth check.
        bottlenecks: sentences about the latest check.
        recommendations: what to do; empty where nothing is.
    """

    monitored_s: float
    latest: MachineCheck
    trends: Trends | None
    bottlenecks: tuple[str, ...]
    recommendations: tuple[str, ...]


class Snapshots(Protocol):
    """What is needed of a ``MachineWatch``; its reads run in threads."""

    async def snapshot(self) -> MachineSnapshot:
        """Return the machine as it is now."""
        ...


class MachineMonitor:
    """Judges a machine again and again; keeps the last 100 checks in memory and nothing on disk.

    Args:
        source: where snapshots come from.
        measure: returns what services measured since it was called before.
        history: number of checks to keep.
    """

    def __init__(
        self, source: Snapshots, measure: Callable[[], Measured] = Measured, *, history: int = HISTORY
    ) -> None:
        self._source = source
        self._measure = measure
        self._checks: deque[MachineCheck] = deque(maxlen=history)
        self._said = Severity.HEALTHY

    @property
    def latest(self) -> MachineCheck | None:
        """The latest check; None before the first."""
        return self._checks[-1] if self._checks else None

    async def check(self) -> MachineCheck:
        """Judge the machine now; a change of severity is logged.

        Raises:
            DeadlineExceeded: the operating system did not answer in time.
        """
        found = judge(await self._source.snapshot(), self._measure())
        self._checks.append(found)
        if found.severity is not self._said:
            say = _log.warning if found.severity else _log.info
            say("machine health", status=found.severity.name.lower(), findings=found.bottlenecks())
            self._said = found.severity
        return found

    async def run(
        self, period_s: float = 30.0, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        """Check every period until cancelled; a check that fails is logged and the next one comes."""
        while True:
            try:
                await self.check()
            except DeadlineExceeded as error:
                _log.warning("machine is not checked", reason=error.message)
            await sleep(period_s)

    def trends(self) -> Trends | None:
        """Return the trends; None before the tenth check."""
        checks = list(self._checks)
        if len(checks) < FEWEST_FOR_TRENDS:
            return None
        recent, earlier = checks[-_RECENT:], checks[:-_RECENT][-_RECENT:]
        names = list(checks[-1].figures)
        averages = {name: mean(_values(recent, name)) for name in names}
        before = {name: _values(earlier, name) for name in names}
        statuses = Counter(check.severity.name.lower() for check in checks)
        return Trends(
            checks=len(checks),
            averages=averages,
            changes={name: averages[name] - mean(before[name]) if before[name] else 0.0 for name in names},
            statuses={severity.name.lower(): statuses[severity.name.lower()] for severity in Severity},
            healthy_percent=100 * statuses["healthy"] / len(checks),
        )

    def report(self) -> MachineReport | None:
        """Return everything; None before the first check."""
        if not self._checks:
            return None
        latest, trends = self._checks[-1], self.trends()
        return MachineReport(
            monitored_s=max(0.0, latest.at_s - self._checks[0].at_s),
            latest=latest,
            trends=trends,
            bottlenecks=tuple(latest.bottlenecks()),
            recommendations=tuple(recommendations(latest, trends)),
        )

    def condition(self) -> MachineCondition | None:
        """Return it as it is told to others; None before the first check."""
        report = self.report()
        if report is None:
            return None
        trends = report.trends
        status = cast(Literal["healthy", "warning", "critical"], report.latest.severity.name.lower())
        return MachineCondition(
            status=status,
            checked_at_s=report.latest.at_s,
            findings=report.bottlenecks,
            advice=report.recommendations,
            checks=len(self._checks),
            averages={} if trends is None else trends.averages,
            changes={} if trends is None else trends.changes,
            healthy_ratio=None if trends is None else trends.healthy_percent / 100,
        )


def recommendations(check: MachineCheck, trends: Trends | None) -> list[str]:
    """Return what to do about a check and the trends; empty where nothing is to be done."""
    advice = [
        f"{word(name)} is at {shown(name, check.figures[name])}: {text}"
        for name, (limit, text) in _ADVICE.items()
        if check.figures.get(name, 0.0) > limit
    ]
    if trends is None:
        return advice
    advice += [
        f"{word(name)} grew by {change:.1f} points over the last checks: watch it"
        for name, change in trends.changes.items()
        if name != "response_ms" and change > _TREND_POINTS
    ]
    if trends.healthy_percent < _FEWEST_HEALTHY_PERCENT:
        advice.append(f"only {trends.healthy_percent:.0f} % of the checks found nothing: see its history")
    return advice


def _values(checks: list[MachineCheck], name: str) -> list[float]:
    return [check.figures[name] for check in checks if name in check.figures]
