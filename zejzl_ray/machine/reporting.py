"""The loop that tells the registry about a machine, whether or not the registry can be reached."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from zejzl_ray.clock import Clock
from zejzl_ray.contracts.health import Check, CheckStatus, ServiceHealth
from zejzl_ray.contracts.machines import MachineCondition, MachineSnapshot, ReportMachine
from zejzl_ray.errors import DeadlineExceeded, ZejzlError
from zejzl_ray.ids import new_id
from zejzl_ray.machine.gpus import GpuReading
from zejzl_ray.machine.single_flight import SingleFlight
from zejzl_ray.machine.vram import disagreement
from zejzl_ray.version import __version__

_log = structlog.get_logger(component="machine")


class MachineReporter(Protocol):
    """Where reports go: the core orchestrator's client."""

    async def report_machine(self, request: ReportMachine) -> object:
        """Store the report; the answer is not used. Raises when the receiver is away."""
        ...


class SnapshotSource(Protocol):
    """What is needed of a ``MachineWatch``."""

    @property
    def last_gpus(self) -> GpuReading | None:
        """The cards as they were last read; None before that."""
        ...

    async def snapshot(self) -> MachineSnapshot:
        """Return the machine as it is now."""
        ...

    async def close(self) -> None:
        """Release what the snapshots need."""
        ...


@dataclass(frozen=True, slots=True)
class ReportingPlan:
    """The values the loop works with.

    Attributes:
        machine: the machine's name.
        period_s: from the start of one report to the start of the next; a report that takes longer delays the
            next, and those that were missed are not made up for.
        timeout_s: for finding the receiver, and again for one report.
        told_to_ray_mib: Ray's ``vram_mib`` of this node.
        declared_vram_mib: what the settings declare; None for what is found.
        node_id: Ray's id of the node.
    """

    machine: str
    period_s: float
    timeout_s: float
    told_to_ray_mib: int = 0
    declared_vram_mib: int | None = None
    node_id: str = ""


class MachineReporting:
    """Reports a machine every period until it is stopped.

    One report is under way at a time. A report that fails is dropped, since the next one holds newer figures;
    the receiver is then looked up anew. Trouble, and what keeps cards from being read, is logged when it
    changes and not at every period: a computer without cards says so once.

    Args:
        source: where snapshots come from; closed by ``stop``.
        find_reporter: returns the receiver; may block, and raises while there is none.
        plan: period and time limits.
        clock: time.
        sleep: waits some seconds; a test hands in its own.

    Attributes:
        condition: returns how the machine is judged, which is told with each snapshot.
    """

    def __init__(
        self,
        source: SnapshotSource,
        find_reporter: Callable[[], MachineReporter],
        plan: ReportingPlan,
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._source = source
        self._find_reporter = SingleFlight(find_reporter, "Looking up the receiver of the reports")
        self._plan = plan
        self._clock = clock
        self._sleep = sleep
        self._reporter: MachineReporter | None = None
        self._task: asyncio.Task[None] | None = None
        self._started_at_s = clock.now_s()
        self._reported_at_s: float | None = None
        self._trouble = "nothing was reported yet"
        self._said_note = ""
        self._latest: MachineSnapshot | None = None
        self.condition: Callable[[], MachineCondition | None] = lambda: None

    def start(self) -> None:
        """Begin to report, in the running event loop; safe to repeat."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self.run())

    async def run(self) -> None:
        """Report every period, for ever."""
        while True:
            began_s = self._clock.monotonic_s()
            await self.report_once()
            spent_s = self._clock.monotonic_s() - began_s
            await self._sleep(max(0.0, self._plan.period_s - spent_s))

    async def report_once(self) -> bool:
        """Take a snapshot and report it; return whether the receiver has it. Does not raise."""
        try:
            await self._report()
        except (
            Exception
        ) as error:  # whatever it is, the next period is another chance and nobody else restarts the loop
            self._reporter = None
            self._failed(error)
            return False
        if self._trouble:
            _log.info("machine is reported", machine=self._plan.machine)
        self._trouble = ""
        self._reported_at_s = self._clock.now_s()
        return True

    async def snapshot(self) -> MachineSnapshot:
        """Return the machine as it is now, whether or not reports get through.

        Raises:
            DeadlineExceeded: the operating system did not answer in time; safe to call again.
        """
        return self._judged(await self._source.snapshot())

    async def latest(self) -> MachineSnapshot:
        """Return the snapshot of the last report, else a new one: to look twice at once makes nonsense of CPU figures.

        Raises:
            DeadlineExceeded: the operating system did not answer in time; safe to call again.
        """
        latest = self._latest
        if latest is not None and self._clock.now_s() - latest.taken_at_s < 2 * self._plan.period_s:
            return latest
        return await self._source.snapshot()

    def health(self, more_checks: tuple[Check, ...] = ()) -> ServiceHealth:
        """Return how reporting goes: not ready while the last report failed, with the reason.

        Args:
            more_checks: what else the process depends on; one that has failed makes it not ready too.
        """
        return ServiceHealth(
            service="node_agent",
            is_ready=not self._trouble
            and all(check.status is not CheckStatus.FAILED for check in more_checks),
            checks=(self._report_check(), self._vram_check(), self._condition_check(), *more_checks),
            machine=self._plan.machine,
            pid=os.getpid(),
            version=__version__,
            node_id=self._plan.node_id,
            started_at_s=self._started_at_s,
        )

    async def stop(self) -> None:
        """Stop reporting and release the driver; safe to repeat. No report is sent after it returns."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
        self._trouble = "reporting is stopped"
        try:
            await self._source.close()
        except ZejzlError as error:
            _log.warning("driver is not released", machine=self._plan.machine, reason=error.message)

    async def _report(self) -> None:
        plan = self._plan
        self._latest = snapshot = self._judged(await self._source.snapshot())
        self._say_note(snapshot)
        if self._reporter is None:
            self._reporter = await self._find_reporter.result(plan.timeout_s)
        request = ReportMachine(
            request_id=new_id("report"), snapshot=snapshot, declared_vram_mib=plan.told_to_ray_mib
        )
        try:
            async with asyncio.timeout(plan.timeout_s):
                await self._reporter.report_machine(request)
        except TimeoutError:
            raise DeadlineExceeded(f"The report was not answered within {plan.timeout_s:g} s.") from None

    def _judged(self, snapshot: MachineSnapshot) -> MachineSnapshot:
        return snapshot.model_copy(update={"condition": self.condition()})

    def _condition_check(self) -> Check:
        condition = self.condition()
        findings = () if condition is None else condition.findings
        status = CheckStatus.DEGRADED if findings else CheckStatus.OK
        return Check(name="machine", status=status, reason="; ".join(findings))

    def _say_note(self, snapshot: MachineSnapshot) -> None:
        if snapshot.gpu_note != self._said_note:
            _log.info(
                "cards are read", machine=self._plan.machine, cards=len(snapshot.gpus), note=snapshot.gpu_note
            )
        self._said_note = snapshot.gpu_note

    def _failed(self, error: Exception) -> None:
        reason = reason_of(error)
        if reason != self._trouble:
            _log.warning("machine is not reported", machine=self._plan.machine, reason=reason)
        self._trouble = reason

    def _report_check(self) -> Check:
        if not self._trouble:
            return Check(name="report", status=CheckStatus.OK)
        status = CheckStatus.FAILED if self._reported_at_s is None else CheckStatus.DEGRADED
        return Check(name="report", status=status, reason=self._trouble)

    def _vram_check(self) -> Check:
        plan = self._plan
        reading = self._source.last_gpus
        if reading is None:
            return Check(name="vram", status=CheckStatus.DEGRADED, reason="the cards were not read yet")
        reason = disagreement(plan.told_to_ray_mib, reading, plan.declared_vram_mib, plan.machine)
        status = CheckStatus.DEGRADED if reason else CheckStatus.OK
        return Check(name="vram", status=status, reason=reason)


def reason_of(error: Exception) -> str:
    """Return one line about an error.

    An error that crossed processes prints a whole traceback and carries the original as ``cause``.
    """
    cause = getattr(error, "cause", None)
    original = cause if isinstance(cause, Exception) else error
    if isinstance(original, ZejzlError):
        return original.message
    lines = str(original).strip().splitlines()
    return f"{type(original).__name__}: {lines[0]}" if lines else type(original).__name__
