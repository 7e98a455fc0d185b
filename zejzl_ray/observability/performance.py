"""How much mail flows and how fast, over all hosts: the logic behind the hub's performance operations."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from zejzl_ray.contracts.performance import (
    GetPerformance,
    GroupBy,
    Performance,
    PerformanceReported,
    ReportingHost,
    ReportPerformance,
    Window,
)
from zejzl_ray.errors import Overloaded
from zejzl_ray.metrics.counters import OTHER
from zejzl_ray.observability.performance_bottlenecks import AgentStanding, find_bottlenecks
from zejzl_ray.observability.performance_flow import Flow, FlowKey, check_series
from zejzl_ray.observability.performance_slices import SliceRing

SILENT_S: Final = 60.0
_FORGET_HOST_S: Final = 600.0
_IDLE_S: Final = 3600.0
_OTHERS: Final[FlowKey] = ("", OTHER, OTHER)


@dataclass(slots=True)
class _Host:
    machine: str
    boot: str
    sequence: int
    last_at_s: float


class PerformanceBook:
    """Adds up the reports of all hosts.

    Bounded: ``max_series`` keys in each slice of time, ``max_hosts`` hosts. Above the first, agents that were
    idle for an hour are added up as ``(other)``, and where there are none the new one is counted as ``(other)``.

    Args:
        now_s: wall time; "since the start" is since then.
        max_series: distinct machines x agents x message types.
        max_hosts: hosts that report.
    """

    def __init__(self, now_s: float, *, max_series: int = 2000, max_hosts: int = 1000) -> None:
        self._begun_s = now_s
        self._max_series = max_series
        self._max_hosts = max_hosts
        self._hosts: dict[str, _Host] = {}
        self._whole: dict[FlowKey, Flow] = {}
        self._next_eviction_s = now_s
        self._folded = 0
        self._rings = {
            Window.MINUTE: SliceRing(slice_s=5.0, window_s=60.0, begun_s=now_s),
            Window.TEN_MINUTES: SliceRing(slice_s=60.0, window_s=600.0, begun_s=now_s),
        }

    def report(self, request: ReportPerformance, now_s: float) -> PerformanceReported:
        """Count a report once, whole or not at all.

        A report about a longer time than a window, after an outage, is left out of that window.

        Raises:
            InvalidInput: figures that cannot be.
            Overloaded: too many hosts report.
        """
        host = self._hosts.get(request.host)
        is_same_boot = host is not None and host.boot == request.boot
        if host is not None and is_same_boot and request.sequence <= host.sequence:
            host.last_at_s = now_s
            return PerformanceReported(sequence=request.sequence, is_repeated=True)
        for series in request.series:
            check_series(series)
        if host is None:
            self._make_room(now_s)
        self._hosts[request.host] = _Host(request.machine, request.boot, request.sequence, now_s)
        span_s = request.at_s - request.from_s
        rings = [ring for ring in self._rings.values() if span_s <= ring.window_s]
        for series in request.series:
            key = self._key((request.machine, series.agent, series.message_type), now_s)
            flow = self._whole.setdefault(key, Flow())
            flow.add(series)
            flow.last_at_s = now_s
            for ring in rings:
                ring.add(key, series, now_s)
        return PerformanceReported(sequence=request.sequence)

    def get(
        self, request: GetPerformance, now_s: float, agents: Mapping[str, AgentStanding] | None = None
    ) -> Performance:
        """Return the figures that are asked for, the busiest groups first.

        Args:
            request: window, grouping and filters.
            now_s: wall time.
            agents: states and expectations of agents, for the bottlenecks.
        """
        seconds = self._seconds(request.window, now_s)
        groups: dict[FlowKey, Flow] = {}
        total = Flow()
        for key, flow in self._flows(request.window, now_s):
            if not _is_wanted(key, request):
                continue
            groups.setdefault(_group(key, request.by), Flow()).add(flow)
            total.add(flow)
        busiest = sorted(groups.items(), key=lambda item: (-item[1].received - item[1].sent, item[0]))
        return Performance(
            window=request.window,
            at_s=now_s,
            seconds=seconds,
            rows=tuple(flow.row(key, seconds) for key, flow in busiest[: request.limit]),
            rows_left_out=max(0, len(busiest) - request.limit),
            total=total.row((request.machine, request.agent, request.message_type), seconds),
            hosts=self.hosts(now_s),
            bottlenecks=find_bottlenecks(
                self._by_agent_and_type(self._flows(Window.MINUTE, now_s), request),
                self._by_agent_and_type(self._whole.items(), request),
                {name: each for name, each in (agents or {}).items() if request.agent in {"", name}},
            ),
            folded=self._folded,
        )

    def flows_since_start(self) -> list[tuple[FlowKey, Flow]]:
        """Return everything that was counted, by machine, agent and message type; it goes on counting."""
        return list(self._whole.items())

    def hosts(self, now_s: float) -> tuple[ReportingHost, ...]:
        """Return the hosts that reported within the last ten minutes, by name."""
        self._forget_hosts(now_s)
        return tuple(
            ReportingHost(
                host=name,
                machine=host.machine,
                last_report_at_s=host.last_at_s,
                is_silent=now_s - host.last_at_s > SILENT_S,
            )
            for name, host in sorted(self._hosts.items())
        )

    def _flows(self, window: Window, now_s: float) -> Iterable[tuple[FlowKey, Flow]]:
        return self._whole.items() if window is Window.START else self._rings[window].flows(now_s)

    def _seconds(self, window: Window, now_s: float) -> float:
        if window is Window.START:
            return max(1.0, now_s - self._begun_s)
        return self._rings[window].seconds(now_s)

    def _by_agent_and_type(
        self, flows: Iterable[tuple[FlowKey, Flow]], request: GetPerformance
    ) -> dict[tuple[str, str], Flow]:
        merged: dict[tuple[str, str], Flow] = {}
        for key, flow in flows:
            if _is_wanted(key, request) and key[1] != OTHER:
                merged.setdefault(key[1:], Flow()).add(flow)
        return merged

    def _key(self, key: FlowKey, now_s: float) -> FlowKey:
        if key in self._whole:
            return key
        if len(self._whole) >= self._max_series and now_s >= self._next_eviction_s:
            # a search over all keys, so not for every new one while the book is full
            self._next_eviction_s = now_s + SILENT_S
            self._evict_idle(now_s)
        if len(self._whole) < self._max_series:
            return key
        self._folded += 1
        return _OTHERS

    def _evict_idle(self, now_s: float) -> None:
        idle = [
            key for key, flow in self._whole.items() if now_s - flow.last_at_s > _IDLE_S and key[1] != OTHER
        ]
        for key in idle:
            machine, _, message_type = key
            # Sums by machine and type must not shrink: they are exported as counters.
            self._whole.setdefault((machine, OTHER, message_type), Flow()).add(self._whole.pop(key))

    def _make_room(self, now_s: float) -> None:
        if len(self._hosts) >= self._max_hosts:
            self._forget_hosts(now_s)
        if len(self._hosts) >= self._max_hosts:
            raise Overloaded(
                f"{self._max_hosts} hosts report their figures already.",
                "Put more agents into one host, or wait until hosts that are gone are forgotten (10 min).",
            )

    def _forget_hosts(self, now_s: float) -> None:
        for name in [name for name, host in self._hosts.items() if now_s - host.last_at_s > _FORGET_HOST_S]:
            del self._hosts[name]


def _is_wanted(key: FlowKey, request: GetPerformance) -> bool:
    wanted = (request.machine, request.agent, request.message_type)
    return all(want in {"", has} for want, has in zip(wanted, key, strict=True))


def _group(key: FlowKey, by: GroupBy) -> FlowKey:
    machine, agent, message_type = key
    match by:
        case GroupBy.AGENT:
            return ("", agent, "")
        case GroupBy.TYPE:
            return ("", "", message_type)
        case GroupBy.MACHINE:
            return (machine, "", "")
        case GroupBy.SERIES:
            return key
