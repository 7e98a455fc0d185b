"""Deadlocks over all hosts: who may report for whom, what is found, and how the agents are."""

from collections import Counter
from typing import Final

from zejzl_ray.bus.deadlock_finder import DeadlockFinder, DeadlockPolicy, HostWaits, Verdict
from zejzl_ray.bus.wait_graph import Node, Slot
from zejzl_ray.contracts import agent_host
from zejzl_ray.contracts.observability_hub import (
    AgentCondition,
    DeadlockStatus,
    GetDeadlockStatus,
    WaitCondition,
)
from zejzl_ray.contracts.waits import AgentWaits, ReportWaits
from zejzl_ray.errors import Forbidden
from zejzl_ray.observability.deadlock_book import DeadlockBook

HOST_SUBJECT: Final = f"service:{agent_host.SUBJECT_PREFIX}"
_WORST_FIRST = (
    WaitCondition.DEADLOCKED,
    WaitCondition.STALLED,
    WaitCondition.WAITING,
    WaitCondition.WORKING,
    WaitCondition.IDLE,
)


class Deadlocks:
    """Takes reports, keeps what is found, and tells conditions of agents.

    Args:
        book: where deadlocks are kept.
        policy: what is done about them.
        stalled_s: a handler that runs for longer makes its agent stalled.
    """

    def __init__(
        self, book: DeadlockBook, policy: DeadlockPolicy | None = None, *, stalled_s: float = 30.0
    ) -> None:
        self._book = book
        self._policy = policy or DeadlockPolicy()
        self._finder = DeadlockFinder(self._policy)
        self._stalled_s = stalled_s
        # host -> who reports for it, as long as it does
        self._owners: dict[str, str] = {}

    def report(self, report: ReportWaits, subject: str, now_s: float) -> Verdict:
        """Take a report of a host.

        Args:
            report: what the host tells.
            subject: who is calling.
            now_s: wall time.

        Raises:
            Forbidden: somebody else reports for this host.
            Overloaded: too many hosts.
        """
        self.forget(now_s)
        if subject.startswith(HOST_SUBJECT) and subject != HOST_SUBJECT + report.host:
            raise Forbidden(
                f"{subject} reports the waits of host {report.host}.", "Report under the host's own name."
            )
        owner = self._owners.get(report.host, subject)
        if owner != subject:
            raise Forbidden(
                f"The waits of host {report.host} are reported by {owner}, not by {subject}.",
                "Give every host a name of its own.",
            )
        verdict = self._finder.observe(report, now_s)
        self._owners[report.host] = subject
        for deadlock in verdict.found:
            self._book.add(deadlock)
        return verdict

    def forget(self, now_s: float) -> None:
        """Forget hosts that have gone silent."""
        self._finder.forget(now_s)
        for host in self._owners.keys() - self._finder.hosts.keys():
            del self._owners[host]

    def status(self, request: GetDeadlockStatus, now_s: float) -> DeadlockStatus:
        """Return the counters, and how each agent that is watched is doing."""
        self.forget(now_s)
        agents = [
            _condition(host, agent, self._finder.stuck, self._stalled_s, now_s)
            for host in self._finder.hosts.values()
            for agent in host.report.agents
        ]
        wanted = [
            each
            for each in agents
            if request.agent in (None, each.agent) and request.condition in (None, each.condition)
        ]
        wanted.sort(key=lambda each: (_WORST_FIRST.index(each.condition), -each.longest_s, each.agent))
        counts = Counter(each.condition.value for each in agents)
        return DeadlockStatus(
            detected=self._book.detected,
            broken=self._book.broken,
            hosts=len(self._finder.hosts),
            agents_monitored=len(agents),
            by_condition={each.value: counts[each.value] for each in _WORST_FIRST},
            agents=tuple(wanted[: request.limit]),
            breaks_youngest=self._policy.break_youngest,
        )


def _condition(
    host: HostWaits, agent: AgentWaits, stuck: frozenset[Node], stalled_s: float, now_s: float
) -> AgentCondition:
    report = host.report
    slots = [Slot(report.host, agent.agent, handled.slot) for handled in agent.handled]
    longest_s = max((report.at_s - handled.since_s for handled in agent.handled), default=0.0)
    if slots and all(slot in stuck for slot in slots):
        condition = WaitCondition.DEADLOCKED
    elif longest_s > stalled_s:
        condition = WaitCondition.STALLED
    elif slots and all(handled.awaits for handled in agent.handled):
        condition = WaitCondition.WAITING
    elif slots or agent.queued:
        condition = WaitCondition.WORKING
    else:
        condition = WaitCondition.IDLE
    return AgentCondition(
        agent=agent.agent,
        host=report.host,
        condition=condition,
        handlers=len(slots),
        slots=agent.slots,
        queued_requests=len(agent.queued),
        longest_s=max(0.0, longest_s),
        reported_s=max(0.0, now_s - host.at_s),
    )
