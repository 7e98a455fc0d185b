"""observability_hub as a service without Ray: deadlocks, performance, logs."""

import asyncio
import os
from collections.abc import Mapping

import structlog

from zejzl_ray.clock import Clock
from zejzl_ray.commands.readiness import Condition, degraded_or_ok, judge_health
from zejzl_ray.commands.record_journal import RecordJournal
from zejzl_ray.commands.records import RecordDraft
from zejzl_ray.commands.serving import require_serving, tick_until
from zejzl_ray.commands.watchers import Watchers
from zejzl_ray.contracts.access import principal_of
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.health import GetHealth, ServiceHealth
from zejzl_ray.contracts.logs import FleetLogPage, ReadFleetLogs
from zejzl_ray.contracts.observability_hub import (
    SERVICE,
    DeadlockBatch,
    DeadlockPage,
    DeadlockStatus,
    GetDeadlockStatus,
    ListDeadlocks,
    WatchDeadlocks,
)
from zejzl_ray.contracts.performance import (
    GetPerformance,
    Performance,
    PerformanceReported,
    ReportPerformance,
)
from zejzl_ray.contracts.waits import ReportWaits, WaitsReported
from zejzl_ray.errors import ServiceUnavailable, ZejzlError
from zejzl_ray.observability.config import HubConfig
from zejzl_ray.observability.deadlock_book import DeadlockBook
from zejzl_ray.observability.deadlock_records import DeadlockCounts, DeadlockRecord
from zejzl_ray.observability.deadlocks import Deadlocks
from zejzl_ray.observability.log_ports import MachineLogs
from zejzl_ray.observability.logs import LogBook
from zejzl_ray.observability.performance import PerformanceBook
from zejzl_ray.observability.performance_bottlenecks import AgentStanding
from zejzl_ray.observability.performance_collector import PerformanceCollector
from zejzl_ray.observability.ports import Fleet
from zejzl_ray.store.protocol import Store

_log = structlog.get_logger(__name__)


class ObservabilityHub:
    """Sees where agents are stuck and how fast their mail flows.

    A deadlock is judged, answered and shown to watchers at once, whether the store can be reached or not; it is in the
    store within about a second. After a restart the counters and the last deadlocks are there, and the hosts report
    anew: a deadlock that stands then is found again. Figures of performance begin anew with every start.

    Args:
        store: the hub's own namespace; the caller closes it after ``stop``.
        clock: source of time.
        config: periods and bounds.
        fleet: what the registry knows; None leaves states of agents out.
        machines: reaches the node agents; None leaves their logs out.

    Attributes:
        collector: figures of the whole fleet, for Prometheus.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        config: HubConfig | None = None,
        *,
        fleet: Fleet | None = None,
        machines: MachineLogs | None = None,
    ) -> None:
        self._config = config or HubConfig()
        self._clock = clock
        self._fleet = fleet
        self._book = DeadlockBook()
        self._deadlocks = Deadlocks(self._book, self._config.deadlocks, stalled_s=self._config.stalled_s)
        self._performance = PerformanceBook(clock.now_s())
        self.collector = PerformanceCollector(self._performance, clock.now_s)
        self._logs = None if machines is None else LogBook(machines, clock)
        self._watchers = Watchers(self._config.max_watchers)
        self._journal: RecordJournal[RecordDraft] = RecordJournal(
            store,
            clock,
            (DeadlockRecord, DeadlockCounts),
            RecordDraft,
            commit_timeout_s=self._config.commit_timeout_s,
        )
        self._standings: Mapping[str, AgentStanding] = {}
        self._fleet_fault = ""
        self._is_serving = False
        self._started_at_s = 0.0
        self._ticked_at_s: float | None = None
        self._committed_at_s = 0.0

    # --- life ------------------------------------------------------------------------------------------------

    @property
    def is_fenced(self) -> bool:
        """Whether another instance has taken over; this one must end."""
        return self._journal.is_fenced

    async def start(self) -> None:
        """Become the writer, load the counters and the last deadlocks, and begin to answer.

        Raises:
            StoreUnavailable: the store cannot be reached; safe to call again.
            StoreError: something stored cannot be read by this version.
        """
        await self._journal.open()
        self._started_at_s = self._clock.now_s()
        self._book.load(self._journal.records, self._started_at_s)
        await self._write()
        self._is_serving = True

    async def run(self, stop_event: asyncio.Event) -> None:
        """Do what is due until ``stop_event`` is set or another instance has taken over."""
        async with asyncio.TaskGroup() as group:
            due = [(self._config.tick_s, self.tick)]
            if self._fleet is not None:
                due.append((self._config.fleet_period_s, self.look_at_fleet))
            for period_s, work in due:
                group.create_task(tick_until(stop_event, period_s, work, lambda: self.is_fenced))

    async def stop(self) -> None:
        """Write what is pending and refuse everything from now on; safe to repeat."""
        was_serving, self._is_serving = self._is_serving, False
        self._watchers.wake()
        if was_serving and not self.is_fenced and not self._book.is_written:
            await self._write_or_say()

    async def tick(self) -> None:
        """Forget hosts that are silent, write what is new, or prove that it could be written."""
        now_s = self._clock.now_s()
        self._deadlocks.forget(now_s)
        is_check_due = not 0 <= now_s - self._committed_at_s < self._config.check_period_s
        if is_check_due or not self._book.is_written or self._journal.fault:
            await self._write_or_say()
        self._ticked_at_s = now_s

    async def look_at_fleet(self) -> None:
        """Ask the registry how the agents are; keeps the last answer while it is away."""
        if self._fleet is None:
            return
        try:
            self._standings = await self._fleet.standings()
        except ZejzlError as error:
            self._fleet_fault = f"states of agents are not known: {error.message}"
        else:
            self._fleet_fault = ""

    # --- deadlocks -------------------------------------------------------------------------------------------

    async def report_waits(self, request: ReportWaits, call: CallContext) -> WaitsReported:
        """Take what a host reports; the answer says which of its requests to fail, and what is new. Never waits.

        Raises:
            Forbidden: somebody else reports for this host.
            Overloaded: too many hosts report.
        """
        self._require_ready()
        verdict = self._deadlocks.report(request, principal_of(call).subject, self._clock.now_s())
        for deadlock in verdict.found:
            _log.warning(
                "deadlock",
                deadlock=deadlock.id,
                agents=deadlock.agents,
                correlation_ids=deadlock.correlation_ids,
                broken=deadlock.broken,
            )
        if verdict.found:
            self._watchers.wake()
        return verdict.answer

    async def list_deadlocks(self, request: ListDeadlocks, call: CallContext) -> DeadlockPage:
        """Return the deadlocks that are kept, newest first."""
        self._require_ready()
        return self._book.page(request.agent, request.before_revision, request.limit)

    async def watch_deadlocks(self, request: WatchDeadlocks, call: CallContext) -> DeadlockBatch:
        """Wait until deadlocks are found after a revision, and return them in order.

        A revision that is above the newest, after the store was restored from an older copy, counts as the newest.

        Raises:
            Overloaded: too many callers wait.
        """
        self._require_ready()
        newest = self._book.detected
        after = newest if request.from_revision is None else min(request.from_revision, newest)
        while True:
            self._require_ready()
            batch = self._book.after(after, request.limit)
            if batch.events or not request.timeout_s or not await self._watchers.wait(request.timeout_s):
                return batch

    async def get_deadlock_status(self, request: GetDeadlockStatus, call: CallContext) -> DeadlockStatus:
        """Return the counters, and how each agent of the hosts that report is doing."""
        self._require_ready()
        return self._deadlocks.status(request, self._clock.now_s())

    # --- performance -----------------------------------------------------------------------------------------

    async def report_performance(self, request: ReportPerformance, call: CallContext) -> PerformanceReported:
        """Count what a host's agents did, once however often it is told.

        Raises:
            InvalidInput: figures that cannot be.
            Overloaded: too many hosts report.
        """
        self._require_ready()
        return self._performance.report(request, self._clock.now_s())

    async def get_performance(self, request: GetPerformance, call: CallContext) -> Performance:
        """Return how much mail flows and how fast, the busiest groups first, and what holds the fleet up."""
        self._require_ready()
        return self._performance.get(request, self._clock.now_s(), self._standings)

    # --- logs ------------------------------------------------------------------------------------------------

    async def read_logs(self, request: ReadFleetLogs, call: CallContext) -> FleetLogPage:
        """Return lines of the logs of all machines, oldest first; names the machines that do not answer.

        Raises:
            InvalidInput: the cursor is none.
            MachineNotFound: there is no machine of this name.
            ServiceUnavailable: nobody knows which machines there are.
        """
        self._require_ready()
        if self._logs is None:
            raise ServiceUnavailable("This hub reaches no machines.", "Start it in a cluster.")
        return await self._logs.read_logs(request)

    # --- health ----------------------------------------------------------------------------------------------

    async def health(self, request: GetHealth, call: CallContext) -> ServiceHealth:
        """Return how the hub is, with reasons; answers in every condition."""
        return judge_health(
            Condition(
                is_serving=self._is_serving,
                is_fenced=self.is_fenced,
                store_fault=self._journal.fault,
                store_weakness=self._journal.weakness,
                commit_s=self._journal.commit_s,
                ticked_at_s=self._ticked_at_s,
                tick_s=self._config.tick_s,
                now_s=self._clock.now_s(),
                further=(degraded_or_ok("fleet", self._fleet_fault),),
            ),
            service=SERVICE,
            epoch=self._journal.epoch,
            pid=os.getpid(),
            started_at_s=self._started_at_s,
        )

    # --- how it is done --------------------------------------------------------------------------------------

    async def _write(self) -> None:
        await self._journal.prepare()
        draft = self._journal.begin()
        revision = self._book.write(draft)
        await self._journal.commit(draft)
        self._book.mark_written(revision)
        self._committed_at_s = self._clock.now_s()

    async def _write_or_say(self) -> None:
        was_well = not self._journal.fault
        try:
            await self._write()
        except ZejzlError as error:
            if was_well:
                _log.warning("deadlocks are not stored", reason=error.message)

    def _require_ready(self) -> None:
        require_serving(SERVICE, is_serving=self._is_serving, is_fenced=self.is_fenced)
