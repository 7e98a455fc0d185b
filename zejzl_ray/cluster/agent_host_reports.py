"""What a host of agents tells observability_hub: who waits for whom, and its figures."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from zejzl_ray.bus.post_office import PostOffice
from zejzl_ray.bus.waits import WaitsReporter
from zejzl_ray.clock import Clock
from zejzl_ray.cluster.host_news import tell_subscribers
from zejzl_ray.cluster.observability_hub import ObservabilityHubClient
from zejzl_ray.contracts.waits import Deadlock, WaitsReported
from zejzl_ray.errors import DeadlockDetected, ZejzlError
from zejzl_ray.log import get_logger
from zejzl_ray.observability.performance_reporter import PerformanceReporter

WAITS_PERIOD_S: Final = 0.5
FIGURES_PERIOD_S: Final = 5.0
DEADLOCK_TOPIC: Final = "zejzl.deadlocks"
_log = get_logger("agent_host")


class HostReports:
    """Reports of one host, and what follows from the answers.

    While the hub is away nothing is lost but time: figures come with a later report, and deadlocks stay until they are
    found.

    Args:
        office: the host's bus.
        hub: in the host's name.
        machine: where the host is.
        clock: source of time.
    """

    def __init__(self, office: PostOffice, hub: ObservabilityHubClient, machine: str, clock: Clock) -> None:
        self._office = office
        self._hub = hub
        self._clock = clock
        self._waits = WaitsReporter(office.local)
        self._figures = PerformanceReporter(
            office.figures, host=office.host, machine=machine, boot=office.boot, now_s=clock.now_s()
        )
        self._problems: dict[str, str] = {}  # what is reported -> why it cannot be

    @property
    def problem(self) -> str:
        """Why the hub does not hear of this host; empty when it does."""
        return "; ".join(problem for problem in self._problems.values() if problem)

    async def run(self) -> None:
        """Report until cancelled."""
        await asyncio.gather(
            self._repeat("waits", self._report_waits, WAITS_PERIOD_S),
            self._repeat("figures", self._report_figures, FIGURES_PERIOD_S),
        )

    async def _repeat(self, what: str, report: Callable[[], Awaitable[None]], period_s: float) -> None:
        while True:
            await asyncio.sleep(period_s)
            try:
                await report()
            except Exception as error:
                is_own = isinstance(error, ZejzlError)
                reason = error.message if isinstance(error, ZejzlError) else repr(error)
                if not self._problems.get(what):
                    _log.warning(
                        "observability_hub does not hear of this host",
                        what=what,
                        reason=reason,
                        exc_info=None if is_own else error,
                    )
                self._problems[what] = f"{what}: {reason}"
            else:
                self._problems[what] = ""

    async def _report_figures(self) -> None:
        report = self._figures.next_report(self._clock.now_s())
        self._figures.accepted(await self._hub.report_performance(report))

    async def _report_waits(self) -> None:
        has_stacks = False
        for _ in range(2):
            report = self._waits.next_report(self._clock.now_s(), has_stacks=has_stacks)
            if report is None:
                return
            answer = await self._hub.report_waits(report)
            self._waits.answered(report)
            await self._act_on(answer)
            if not answer.wants_stacks or has_stacks:
                return
            has_stacks = True

    async def _act_on(self, answer: WaitsReported) -> None:
        for fail in answer.fail:
            details = {"agents": list(fail.agents), "correlation_id": fail.correlation_id}
            await self._office.give_up(
                fail.correlation_id, DeadlockDetected(fail.reason, "See zejzl deadlocks.", details)
            )
        for deadlock in answer.deadlocks:
            await self._publish(deadlock)

    async def _publish(self, deadlock: Deadlock) -> None:
        """Tell the subscribers, once: the host of the circle's first agent does it."""
        first = deadlock.parties[0] if deadlock.parties else None
        if first is None or first.host != self._office.host:
            return
        _log.error(
            "deadlock",
            agents=deadlock.agents,
            correlation_ids=deadlock.correlation_ids,
            broken=deadlock.broken,
        )
        self._office.figures.events.add("deadlocks_total")
        await tell_subscribers(
            self._office, DEADLOCK_TOPIC, "deadlock_detected", deadlock.model_dump(mode="json")
        )
