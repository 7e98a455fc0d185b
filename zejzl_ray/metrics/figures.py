"""Figures of all mail of a process, a series for each agent and message type."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from zejzl_ray.metrics.counters import OTHER, Counters
from zejzl_ray.metrics.histogram import LatencyHistogram
from zejzl_ray.metrics.mail_series import MailSeries, SeriesKey

MAX_SERIES: Final = 2000


@dataclass(frozen=True, slots=True)
class FiguresSnapshot:
    """All series at one moment; nobody changes it any more.

    Attributes:
        series: by agent and message type.
        events: counts of ``MailFigures.events``, by (name, label).
    """

    series: Mapping[SeriesKey, MailSeries] = field(default_factory=dict)
    events: Mapping[tuple[str, str], int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MailTotals:
    """Counts over all series since the process started."""

    sent: int
    received: int
    failed: int
    dead: int
    dropped: int


class AgentSeries(dict[str, MailSeries]):
    """The series of one agent by message type; a type that is asked for the first time gets one."""

    __slots__ = ("_figures", "agent")

    def __init__(self, figures: "MailFigures", agent: str) -> None:
        super().__init__()
        self.agent = agent
        self._figures = figures

    def __missing__(self, message_type: str) -> MailSeries:
        """Begin a series, unless there are too many."""
        return self._figures.begin(self, message_type)


class _ByAgent(dict[str, AgentSeries]):
    __slots__ = ("_figures",)

    def __init__(self, figures: "MailFigures") -> None:
        super().__init__()
        self._figures = figures

    def __missing__(self, agent: str) -> AgentSeries:
        return self._figures.agent(agent)


class MailFigures:
    """Figures of all mail of a process, bounded in memory; one thread writes.

    ``figures.by_agent[agent][message_type]`` is the series to count on: two look-ups in dictionaries, so that it may
    be done for each message. Who serves one agent may keep ``figures.agent(name)`` and save the first.

    Args:
        max_series: distinct pairs of agent and message type; mail of later ones goes to ``("(other)", "(other)")``.

    Attributes:
        by_agent: agent -> message type -> series; both are made as they are asked for.
        events: counters of what happens seldom, such as ``events.add("bus_dropped_total", reason)``.
        max_series: as given.
        folded: look-ups that ended in ``(other)``, because there were too many series.
    """

    __slots__ = ("_closed", "_count", "_other", "_retired", "by_agent", "events", "folded", "max_series")

    def __init__(self, *, max_series: int = MAX_SERIES) -> None:
        self.by_agent: dict[str, AgentSeries] = _ByAgent(self)
        self.max_series = max_series
        self._count = 0
        self._closed: set[str] = set()
        self._other = AgentSeries(self, OTHER)
        # message type -> what agents counted whose series gave way; its types are bounded like the series
        self._retired: dict[str, MailSeries] = {}
        self.events = Counters()
        self.folded = 0

    def of(self, agent: str, message_type: str) -> MailSeries:
        """Return the series to count on."""
        return self.by_agent[agent][message_type]

    def agent(self, agent: str) -> AgentSeries:
        """Return the series of an agent by message type; ask again after ``close_agent``."""
        self._closed.discard(agent)
        found = self.by_agent.get(agent)
        if found is not None:
            return found
        if len(self.by_agent) >= self.max_series:
            self._retire()
        if len(self.by_agent) >= self.max_series:
            return self._other
        made = self.by_agent[agent] = AgentSeries(self, agent)
        return made

    def begin(self, agent: AgentSeries, message_type: str) -> MailSeries:
        """Return a new series, or the one of all others where there are too many; called by ``AgentSeries``."""
        if self._count >= self.max_series:
            self._retire()
        if agent is self._other or self._count >= self.max_series:
            self.folded += 1
            agent, message_type = self._other, OTHER
            if OTHER in agent:
                return agent[OTHER]
        else:
            self._count += 1
        series = agent[message_type] = MailSeries()
        return series

    def close_agent(self, agent: str) -> None:
        """Allow the series of an agent that is gone to give way once their places are needed; safe to repeat."""
        if agent in self.by_agent:
            self._closed.add(agent)

    def _retire(self) -> None:
        for agent in self._closed:
            gone = self.by_agent.pop(agent)
            self._count -= len(gone)
            for message_type, series in gone.items():
                is_known = message_type in self._retired or len(self._retired) < self.max_series
                kind = message_type if is_known else OTHER
                self._retired.setdefault(kind, MailSeries()).add(series)
        self._closed.clear()

    def series(self) -> list[tuple[SeriesKey, MailSeries]]:
        """Return the live series; they go on counting."""
        found = [
            ((agent, message_type), series)
            for agent, of_agent in list(self.by_agent.items())
            for message_type, series in list(of_agent.items())
        ]
        return found + [((OTHER, message_type), series) for message_type, series in self._other.items()]

    def totals(self) -> MailTotals:
        """Return the counts over everything since the start."""
        every = self._every()
        return MailTotals(
            sent=sum(series.sent_total for series in every),
            received=sum(series.received for series in every),
            failed=sum(series.failed for series in every),
            dead=sum(series.dead for series in every),
            dropped=sum(series.dropped for series in every),
        )

    def latency_by_type(self) -> dict[str, dict[str, int | float]]:
        """Return count, avg_ms, min_ms, max_ms of send to receive by message type; types without mail are absent."""
        return {
            message_type: {
                "count": spread.count,
                "avg_ms": spread.avg_ms,
                "min_ms": spread.min_ms,
                "max_ms": spread.max_ms,
            }
            for message_type, series in self.by_type().items()
            if (spread := series.latency.spread()).count
        }

    def by_type(self) -> dict[str, MailSeries]:
        """Return what all agents counted since the start, by message type; a copy."""
        merged: dict[str, MailSeries] = {}
        live = [(key[1], series) for key, series in self.series()]
        for message_type, series in [*live, *self._retired.items()]:
            merged.setdefault(message_type, MailSeries()).add(series)
        return merged

    def latency(self) -> LatencyHistogram:
        """Return send to receive over everything since the start."""
        whole = LatencyHistogram()
        for series in self._every():
            whole.merge(series.latency)
        return whole

    def snapshot(self, previous: FiguresSnapshot | None = None) -> FiguresSnapshot:
        """Return all figures as they are now.

        Args:
            previous: an earlier snapshot; series that stand still since are taken from it and not copied again.
        """
        before = previous.series if previous is not None else {}
        copied = {
            key: old if (old := before.get(key)) is not None and series.is_same(old) else series.copy()
            for key, series in self.series()
        }
        return FiguresSnapshot(copied, self.events.values())

    def _every(self) -> list[MailSeries]:
        return [*(series for _, series in self.series()), *self._retired.values()]


def since(now: FiguresSnapshot, previous: FiguresSnapshot | None) -> FiguresSnapshot:
    """Return what was counted between two snapshots of the same figures; what stood still is absent."""
    before = previous if previous is not None else FiguresSnapshot()
    changed: dict[SeriesKey, MailSeries] = {}
    for key, series in now.series.items():
        old = before.series.get(key)
        if old is series:
            continue
        difference = series if old is None else series.minus(old)
        if not difference.is_empty():
            changed[key] = difference
    events = {
        key: count - before.events.get(key, 0)
        for key, count in now.events.items()
        if count != before.events.get(key, 0)
    }
    return FiguresSnapshot(changed, events)
