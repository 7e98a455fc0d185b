"""Decides from the reports of all hosts which circles are deadlocks, and which request ends each of them.

Pure logic: reports come in one after the other, what is to be done goes out as data.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from zejzl_ray.bus.wait_facts import Fact, facts_of, parts_of, stacks_of, waiting
from zejzl_ray.bus.wait_graph import Node, Request, Slot, Step, WaitGraph
from zejzl_ray.contracts.waits import (
    Deadlock,
    DeadlockParty,
    FailRequest,
    Handled,
    Pending,
    ReportWaits,
    WaitsReported,
)
from zejzl_ray.errors import Overloaded
from zejzl_ray.ids import new_id

_KEPT_SEQUENCES: Final = 16
_KEPT_CIRCLES: Final = 4096
_KEPT_NEWS: Final = 100


@dataclass(frozen=True, slots=True)
class DeadlockPolicy:
    """How deadlocks are judged.

    Attributes:
        break_youngest: fail the youngest request of a circle; otherwise it is told and left alone.
        fresh_s: what a host reported longer ago than this is not believed any more.
        forget_s: a host is forgotten after this time without a report.
        max_hosts: further hosts are refused.
        few_hosts: up to so many hosts every report is judged at once; the graph is built anew each time ...
        look_s: ... and with more of them at most once in this time.
    """

    break_youngest: bool = True
    fresh_s: float = 2.5
    forget_s: float = 10.0
    max_hosts: int = 10_000
    few_hosts: int = 8
    look_s: float = 0.1


class Verdict(NamedTuple):
    """What follows from one report: the answer to its host, and the deadlocks that are known since it."""

    answer: WaitsReported
    found: tuple[Deadlock, ...]


@dataclass(slots=True)
class HostWaits:
    """What is known of one host.

    Attributes:
        report: its newest.
        at_s: wall time of the receiver when that came.
        since: fact -> number of the report, over all hosts, from which on every report of this host has told it.
        stacks: where handlers stood when it was told last, as long as they do the same.
        made_after: number of the report, over all hosts, that had surely come before the newest was made.
    """

    report: ReportWaits
    at_s: float
    since: dict[Fact, int]
    stacks: dict[Fact, str]
    made_after: int
    # sequence -> number of that report over all hosts
    numbers: OrderedDict[int, int]
    failing: dict[str, FailRequest] = field(default_factory=dict)
    news: list[Deadlock] = field(default_factory=list)


class DeadlockFinder:
    """Finds deadlocks; one for a cluster, or one for a process that is alone.

    A circle among the newest reports is a suspicion only: they were made at different moments. It is a deadlock when
    there was one moment at which all of it was so: each host has told its part in a report that came before that
    moment, and again, unchanged, in one that it made after it. Whether it made one after that is told by the answers
    that it had by then, not by clocks. A true deadlock lasts until somebody ends it, so it is found with the second
    report at the latest that each host makes after the circle was complete in their reports.

    Args:
        policy: what to do about them.
        make_id: ids of deadlocks.
    """

    def __init__(
        self, policy: DeadlockPolicy | None = None, *, make_id: Callable[[], str] = lambda: new_id("deadlock")
    ) -> None:
        self._policy = policy or DeadlockPolicy()
        self._make_id = make_id
        self._hosts: dict[str, HostWaits] = {}
        self._count = 0
        # Circles that were told, by their correlation ids, the one seen last at the end.
        self._told: OrderedDict[frozenset[str], None] = OrderedDict()
        self._suspects: set[str] = set()
        self._stuck: frozenset[Node] = frozenset()
        self._looked_at_s = 0.0

    @property
    def hosts(self) -> dict[str, HostWaits]:
        """What is known of each host; for reading."""
        return self._hosts

    @property
    def stuck(self) -> frozenset[Node]:
        """What waited for stuck things only when it was last looked at; a suspicion, not a verdict."""
        return self._stuck

    def observe(self, report: ReportWaits, now_s: float) -> Verdict:
        """Take a report.

        Args:
            report: of one host; one that is older than the newest of its boot changes nothing.
            now_s: wall time of the receiver.

        Raises:
            Overloaded: too many hosts report.
        """
        self.forget(now_s)
        host = self._take(report, now_s)
        found: tuple[Deadlock, ...] = ()
        if report.pending and host.report is report and self._is_look_due(now_s):
            found = self._look(now_s)
        awaited = {pending.correlation_id for pending in host.report.pending}
        host.failing = {each: fail for each, fail in host.failing.items() if each in awaited}
        answer = WaitsReported(
            fail=tuple(host.failing.values()),
            wants_stacks=report.host in self._suspects,
            deadlocks=tuple(host.news),
        )
        host.news = []
        return Verdict(answer, found)

    def forget(self, now_s: float) -> None:
        """Forget the hosts that have not reported for long."""
        gone = [name for name, host in self._hosts.items() if now_s - host.at_s > self._policy.forget_s]
        for name in gone:
            del self._hosts[name]
        if not self._hosts:
            self._suspects, self._stuck = set(), frozenset()

    def _take(self, report: ReportWaits, now_s: float) -> HostWaits:
        before = self._hosts.get(report.host)
        if before is None and len(self._hosts) >= self._policy.max_hosts:
            raise Overloaded(f"{len(self._hosts)} hosts report what they wait for already.")
        if before is not None and before.report.boot == report.boot:
            if report.sequence <= before.report.sequence:
                return before
        else:
            before = None
        self._count += 1
        numbers = OrderedDict() if before is None else before.numbers
        known = {} if before is None else before.since
        # Of the answers that it had, the newest to a report that came here.
        answered = report.sequence - 1 if report.answered is None else report.answered
        made_after = max((number for sequence, number in numbers.items() if sequence <= answered), default=0)
        numbers[report.sequence] = self._count
        while len(numbers) > _KEPT_SEQUENCES:
            numbers.popitem(last=False)
        host = HostWaits(
            report=report,
            at_s=now_s,
            stacks=stacks_of(report, {} if before is None else before.stacks),
            since={fact: known.get(fact, self._count) for fact in facts_of(report)},
            made_after=made_after,
            numbers=numbers,
        )
        if before is not None:
            host.failing, host.news = before.failing, before.news
        self._hosts[report.host] = host
        return host

    def _is_look_due(self, now_s: float) -> bool:
        is_early = 0 <= now_s - self._looked_at_s < self._policy.look_s
        return len(self._hosts) <= self._policy.few_hosts or not is_early

    def _look(self, now_s: float) -> tuple[Deadlock, ...]:
        fresh = [host for host in self._hosts.values() if now_s - host.at_s <= self._policy.fresh_s]
        graph = WaitGraph(host.report for host in fresh)
        self._looked_at_s, self._stuck, self._suspects = now_s, graph.stuck, set()
        found: list[Deadlock] = []
        for component in graph.components():
            ids = {node.correlation_id for node in component if isinstance(node, Request)}
            standing = [told for told in self._told if told <= ids]
            for told in standing:
                self._told.move_to_end(told)
            if standing:
                continue
            parts = list(parts_of(graph, component))
            if not self._is_sure(parts):
                self._suspects |= {host for host, _ in parts}
                continue
            found.append(self._tell(graph, graph.circle(component), now_s))
        return tuple(found)

    def _is_sure(self, parts: list[tuple[str, Fact]]) -> bool:
        """Tell whether there was one moment at which all parts were true."""
        hosts = self._hosts
        # A fact that was not in the newest report cannot be in the graph, so each has a first number.
        begun = max(hosts[host].since[fact] for host, fact in parts)
        return begun <= min(hosts[host].made_after for host in {host for host, _ in parts})

    def _tell(self, graph: WaitGraph, circle: list[Step], now_s: float) -> Deadlock:
        ids = tuple(step.request.correlation_id for step in circle)
        requests = [_request(graph, step) for step in circle]
        youngest = max(range(len(circle)), key=lambda at: (requests[at].since_s, ids[at]))
        agents = tuple(step.slot.agent for step in circle)
        hosts = tuple(dict.fromkeys(step.slot.host for step in circle))
        deadlock = Deadlock(
            id=self._make_id(),
            found_at_s=now_s,
            agents=agents,
            correlation_ids=ids,
            hosts=hosts,
            parties=tuple(
                DeadlockParty(
                    agent=step.slot.agent,
                    host=step.slot.host,
                    awaits=step.request.correlation_id,
                    of=request.to_agent,
                    waits_s=max(0.0, self._hosts[step.slot.host].report.at_s - request.since_s),
                    stack=self._stack(step.slot, graph.handled[step.slot]),
                )
                for step, request in zip(circle, requests, strict=True)
            ),
            broken=ids[youngest] if self._policy.break_youngest else "",
        )
        self._told[frozenset(ids)] = None
        while len(self._told) > _KEPT_CIRCLES:
            self._told.popitem(last=False)
        for name in hosts:
            self._hosts[name].news = [*self._hosts[name].news, deadlock][-_KEPT_NEWS:]
        if deadlock.broken:
            fail = FailRequest(correlation_id=deadlock.broken, agents=agents, reason=describe(deadlock))
            self._hosts[circle[youngest].slot.host].failing[deadlock.broken] = fail
        return deadlock

    def _stack(self, slot: Slot, handled: Handled) -> str:
        return self._hosts[slot.host].stacks.get(waiting(slot.agent, handled), "")


def describe(deadlock: Deadlock) -> str:
    """Return the circle in one line: who waits for whom, with which request."""
    waits = "; ".join(f"{each.agent} waits for {each.of} ({each.awaits})" for each in deadlock.parties)
    return f"{waits}. {f'Request {deadlock.broken} was failed to end it.' if deadlock.broken else ''}".strip()


def _request(graph: WaitGraph, step: Step) -> Pending:
    """Return the request as the host of the handler that waits for it tells it."""
    told = graph.pending[step.request.correlation_id]
    return next((pending for host, pending in told if host == step.slot.host), told[0][1])
