"""How well single agents work: speed against what each expects of itself, reliability, agreement with others."""

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from zejzl_ray.errors import NotFound
from zejzl_ray.metrics.counters import OTHER
from zejzl_ray.metrics.figures import FiguresSnapshot
from zejzl_ray.metrics.histogram import LatencyHistogram, Spread

MAX_AGENTS: Final = 1000
_RECENT_CALLS: Final = 100
_LOWEST_SCORE: Final = 0.1
_RELIABLE: Final = 0.8
_EFFICIENT: Final = 0.7
_AGREEING: Final = 0.8
_FEWEST_AGENTS: Final = 3
_UNEVEN: Final = 1.5
_MANY_UNRELIABLE: Final = 0.3
_UNRELIABLE: Final = 0.7


class Metric(StrEnum):
    """A score to rank agents by."""

    EFFICIENCY = "efficiency_score"
    RELIABILITY = "reliability_score"
    COORDINATION = "coordination_score"


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores between 0 and 1; None where nothing says anything.

    Attributes:
        efficiency: expected time of a call divided by the mean of the last 100; at least 0.1, and 1 for an agent that
            is as fast as it expects of itself. None for one that expects nothing, and before its first call.
        reliability: part of the calls that succeeded.
        coordination: part of its conflicts that ended in agreement.
    """

    efficiency: float | None
    reliability: float | None
    coordination: float | None

    def of(self, metric: Metric) -> float | None:
        """Return one of them."""
        match metric:
            case Metric.EFFICIENCY:
                return self.efficiency
            case Metric.RELIABILITY:
                return self.reliability
            case Metric.COORDINATION:
                return self.coordination


@dataclass(frozen=True, slots=True)
class AgentReport:
    """One agent, with scores as of now."""

    agent_name: str
    agent_role: str
    total_calls: int
    failed_calls: int
    success_rate: float | None
    response_times: Spread
    expected_s: float | None
    scores: Scores
    messages_sent: int
    messages_received: int
    conflicts: int
    consensus_reached: int


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What is wrong with an agent, or with all of them (``agent_name`` empty), as measured."""

    agent_name: str
    recommendation_type: str
    priority: str
    description: str


@dataclass(slots=True)
class _Profile:
    role: str = ""
    expected_s: float | None = None
    failed: int = 0
    times: LatencyHistogram = field(default_factory=LatencyHistogram)
    # (calls, their seconds): singly recorded, or as they came from the figures of mail
    recent: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=_RECENT_CALLS))
    sent: int = 0
    received: int = 0
    conflicts: int = 0
    consensus: int = 0

    def called(self, calls: int, seconds: float) -> None:
        self.recent.append((calls, seconds))
        while sum(each for each, _ in self.recent) - self.recent[0][0] >= _RECENT_CALLS:
            self.recent.popleft()

    def scores(self) -> Scores:
        calls, recent = self.times.count, sum(each for each, _ in self.recent)
        efficiency = None
        if self.expected_s is not None and recent:
            mean_s = sum(seconds for _, seconds in self.recent) / recent
            efficiency = 1.0 if mean_s <= self.expected_s else max(_LOWEST_SCORE, self.expected_s / mean_s)
        return Scores(
            efficiency=efficiency,
            reliability=1 - self.failed / calls if calls else None,
            coordination=self.consensus / self.conflicts if self.conflicts else None,
        )


class AgentProfiler:
    """Profiles of agents, at most 1000; later ones count as ``(other)``."""

    def __init__(self) -> None:
        self._profiles: dict[str, _Profile] = {}

    def expect(self, agent_name: str, role: str = "", expected_s: float | None = None) -> None:
        """Say what an agent is and how long one of its calls should take; None: nothing is slow for it."""
        profile = self._profile(agent_name, role)
        profile.expected_s = expected_s

    def record_agent_call(
        self, agent_name: str, agent_role: str, response_time: float, success: bool = True
    ) -> None:
        """Count a call that took ``response_time`` seconds."""
        profile = self._profile(agent_name, agent_role)
        profile.times.record(response_time)
        profile.called(1, max(0.0, response_time))
        profile.failed += not success

    def record_message_sent(self, agent_name: str, agent_role: str = "") -> None:
        """Count a message that it sent."""
        self._profile(agent_name, agent_role).sent += 1

    def record_message_received(self, agent_name: str, agent_role: str = "") -> None:
        """Count a message that it received."""
        self._profile(agent_name, agent_role).received += 1

    def record_conflict_participation(
        self, agent_name: str, agent_role: str = "", consensus_reached: bool = True
    ) -> None:
        """Count a conflict, and whether it ended in agreement; one that did is no mark against the agent."""
        profile = self._profile(agent_name, agent_role)
        profile.conflicts += 1
        profile.consensus += consensus_reached

    def take(self, window: FiguresSnapshot) -> None:
        """Add what ``figures.since`` says that agents did: handlers are calls, and mail is counted."""
        for (agent, _), series in window.series.items():
            profile = self._profile(agent, "")
            profile.sent += series.sent_total
            profile.received += series.received
            calls = series.handling.count
            if calls:
                profile.times.merge(series.handling)
                profile.called(calls, series.handling.sum_s)
                profile.failed += min(calls, series.failed)

    def report(self, agent_name: str) -> AgentReport:
        """Return one agent.

        Raises:
            NotFound: nothing is known of it.
        """
        profile = self._profiles.get(agent_name)
        if profile is None:
            raise NotFound(f"No call of {agent_name!r} was recorded.", "See its name in `zejzl performance`.")
        scores = profile.scores()
        return AgentReport(
            agent_name=agent_name,
            agent_role=profile.role,
            total_calls=profile.times.count,
            failed_calls=profile.failed,
            success_rate=scores.reliability,
            response_times=profile.times.spread(),
            expected_s=profile.expected_s,
            scores=scores,
            messages_sent=profile.sent,
            messages_received=profile.received,
            conflicts=profile.conflicts,
            consensus_reached=profile.consensus,
        )

    def reports(self) -> list[AgentReport]:
        """Return all agents by name."""
        return [self.report(name) for name in sorted(self._profiles)]

    def top_performers(self, metric: Metric = Metric.EFFICIENCY, top_n: int = 5) -> list[AgentReport]:
        """Return the agents with the highest scores as of now; those without that score are left out."""
        scored = [
            (score, report) for report in self.reports() if (score := report.scores.of(metric)) is not None
        ]
        return [
            report for _, report in sorted(scored, key=lambda each: (-each[0], each[1].agent_name))[:top_n]
        ]

    def under_performers(
        self, metric: Metric = Metric.EFFICIENCY, threshold: float = _EFFICIENT
    ) -> list[AgentReport]:
        """Return the agents below a score as of now, the lowest first."""
        scored = [
            (score, report) for report in self.reports() if (score := report.scores.of(metric)) is not None
        ]
        low = [each for each in scored if each[0] < threshold]
        return [report for _, report in sorted(low, key=lambda each: (each[0], each[1].agent_name))]

    def recommendations(self) -> list[Recommendation]:
        """Return what is wrong as measured, the most pressing first; no effect is promised."""
        reports = self.reports()
        found = [each for report in reports for each in _of_agent(report)] + _of_all(reports)
        return sorted(found, key=lambda each: (each.priority != "high", each.agent_name))

    def _profile(self, agent: str, role: str) -> _Profile:
        if agent not in self._profiles and len(self._profiles) >= MAX_AGENTS:
            agent = OTHER
        profile = self._profiles.setdefault(agent, _Profile())
        if role:
            profile.role = role
        return profile


def _of_agent(report: AgentReport) -> list[Recommendation]:
    found: list[Recommendation] = []
    name, scores = report.agent_name, report.scores
    if scores.reliability is not None and scores.reliability < _RELIABLE:
        said = f"{report.failed_calls} of {report.total_calls} calls failed"
        found.append(Recommendation(name, "reliability", "high", said))
    if scores.efficiency is not None and scores.efficiency < _EFFICIENT:
        said = f"calls take {1 / scores.efficiency:.1f} times the {report.expected_s:g} s that it expects, or more"
        priority = "high" if scores.efficiency <= _EFFICIENT / 2 else "medium"
        found.append(Recommendation(name, "performance", priority, said))
    if scores.coordination is not None and scores.coordination < _AGREEING:
        said = (
            f"{report.conflicts - report.consensus_reached} of {report.conflicts} conflicts had no agreement"
        )
        found.append(Recommendation(name, "coordination", "medium", said))
    return found


def _of_all(reports: list[AgentReport]) -> list[Recommendation]:
    found: list[Recommendation] = []
    called = [report for report in reports if report.total_calls]
    if len(called) < _FEWEST_AGENTS:
        return found
    scored = [report.scores.efficiency for report in called if report.scores.efficiency is not None]
    if len(scored) >= _FEWEST_AGENTS and max(scored) > _UNEVEN * min(scored):
        said = "some agents are as fast as they expect of themselves, others are not: the load is uneven"
        found.append(Recommendation("", "performance", "high", said))
    unreliable = [report.agent_name for report in called if (report.scores.reliability or 0.0) < _UNRELIABLE]
    if len(unreliable) > _MANY_UNRELIABLE * len(called):
        said = f"{len(unreliable)} of {len(called)} agents fail in more than 30 % of their calls"
        found.append(Recommendation("", "reliability", "high", said))
    return found
