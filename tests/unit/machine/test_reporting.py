import asyncio
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from zejzl_ray.contracts.health import CheckStatus
from zejzl_ray.contracts.machines import MachineCondition, MachineSnapshot, ReportMachine
from zejzl_ray.errors import DeadlineExceeded, ServiceUnavailable
from zejzl_ray.machine.gpus import GpuReading
from zejzl_ray.machine.reporting import MachineReporting, ReportingPlan, reason_of
from zejzl_ray.testing import ManualClock
from zejzl_ray.testing.gpus import fake_gpu, fake_snapshot

PLAN = ReportingPlan(machine="mainpc", period_s=2.0, timeout_s=5.0, told_to_ray_mib=24_564, node_id="node-1")


class FakeSource:
    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.takes_s = 0.0
        self.error: Exception | None = None
        self.close_error: Exception | None = None
        self.is_closed = False
        self.note = ""
        self.last_gpus: GpuReading | None = None

    async def snapshot(self) -> MachineSnapshot:
        self.clock.advance(self.takes_s)
        if self.error is not None:
            raise self.error
        self.last_gpus = GpuReading(() if self.note else (fake_gpu(),), self.note)
        return fake_snapshot(gpus=self.last_gpus.gpus, gpu_note=self.note, taken_at_s=self.clock.now_s())

    async def close(self) -> None:
        if self.close_error is not None:
            raise self.close_error
        self.is_closed = True


class FakeReporter:
    def __init__(self) -> None:
        self.requests: list[ReportMachine] = []
        self.error: Exception | None = None
        self.hangs = False
        self.lookups = 0
        self.is_asked = asyncio.Event()

    def find(self) -> "FakeReporter":
        self.lookups += 1
        return self

    async def report_machine(self, request: ReportMachine) -> None:
        self.is_asked.set()
        if self.hangs:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error
        self.requests.append(request)


class Sleeps:
    """Stands for ``asyncio.sleep``: moves the clock, and after a number of periods waits for ever."""

    def __init__(self, clock: ManualClock, periods: int) -> None:
        self.clock = clock
        self.asked_s: list[float] = []
        self.periods = periods
        self.is_over = asyncio.Event()

    async def __call__(self, duration_s: float) -> None:
        self.asked_s.append(duration_s)
        self.clock.advance(duration_s)
        if len(self.asked_s) >= self.periods:
            self.is_over.set()
            await asyncio.Event().wait()


class Stage:
    def __init__(self, plan: ReportingPlan = PLAN, periods: int = 3) -> None:
        self.clock = ManualClock(1_000.0)
        self.source = FakeSource(self.clock)
        self.reporter = FakeReporter()
        self.sleeps = Sleeps(self.clock, periods)
        self.reporting = MachineReporting(self.source, self.reporter.find, plan, self.clock, self.sleeps)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    yield stage
    await stage.reporting.stop()


async def test_a_report_holds_the_snapshot_and_what_ray_was_told(stage: Stage) -> None:
    assert await stage.reporting.report_once()
    assert await stage.reporting.report_once()
    first, second = stage.reporter.requests
    assert first.snapshot == fake_snapshot(gpus=[fake_gpu()], taken_at_s=1_000.0)
    assert first.declared_vram_mib == 24_564
    assert first.request_id != second.request_id
    assert stage.reporter.lookups == 1


async def test_reports_begin_a_period_apart_however_long_they_take(stage: Stage) -> None:
    stage.source.takes_s = 0.5
    stage.reporting.start()
    stage.reporting.start()
    await stage.sleeps.is_over.wait()
    assert stage.sleeps.asked_s == [1.5, 1.5, 1.5]
    assert [request.snapshot.taken_at_s for request in stage.reporter.requests] == [1_000.5, 1_002.5, 1_004.5]


async def test_a_report_that_outlasts_the_period_delays_the_next_and_none_is_made_up_for(
    stage: Stage,
) -> None:
    stage.source.takes_s = 7.0
    stage.reporting.start()
    await stage.sleeps.is_over.wait()
    assert stage.sleeps.asked_s == [0.0, 0.0, 0.0]
    assert len(stage.reporter.requests) == 3


async def test_the_loop_survives_a_receiver_that_is_away_and_looks_it_up_anew(stage: Stage) -> None:
    reporting, reporter = stage.reporting, stage.reporter
    with capture_logs() as lines:
        assert await reporting.report_once()
        reporter.error = ServiceUnavailable("core_orchestrator is restarting.")
        assert not await reporting.report_once()
        assert not await reporting.report_once()
        reporter.error = None
        assert await reporting.report_once()
    assert (len(reporter.requests), reporter.lookups) == (2, 3)
    assert [(line["event"], line.get("reason")) for line in lines] == [
        ("machine is reported", None),
        ("machine is not reported", "core_orchestrator is restarting."),
        ("machine is reported", None),
    ]


async def test_a_machine_without_cards_says_so_once_and_says_when_they_come(stage: Stage) -> None:
    stage.source.note = "NVML is not available"
    with capture_logs() as lines:
        for _ in range(3):
            await stage.reporting.report_once()
        stage.source.note = ""
        await stage.reporting.report_once()
    said = [(line["cards"], line["note"]) for line in lines if line["event"] == "cards are read"]
    assert said == [(0, "NVML is not available"), (1, "")]


async def test_any_exception_of_a_receiver_is_survived_and_named(stage: Stage) -> None:
    stage.reporter.error = RuntimeError("actor died")
    stage.reporting.start()
    await stage.sleeps.is_over.wait()
    assert stage.sleeps.asked_s == [2.0, 2.0, 2.0]
    assert stage.reporting.health().checks[0].reason == "RuntimeError: actor died"


async def test_a_receiver_that_cannot_be_found_is_survived() -> None:
    def find() -> FakeReporter:
        raise ValueError("no such actor")

    clock = ManualClock()
    reporting = MachineReporting(FakeSource(clock), find, PLAN, clock)
    assert not await reporting.report_once()
    assert reporting.health().checks[0].reason == "ValueError: no such actor"


async def test_a_receiver_that_never_answers_costs_the_time_limit_only() -> None:
    stage = Stage(ReportingPlan(machine="mainpc", period_s=2.0, timeout_s=0.25))
    stage.reporter.hangs = True
    assert not await stage.reporting.report_once()
    assert stage.reporting.health().checks[0].reason == "The report was not answered within 0.25 s."


async def test_a_machine_that_cannot_be_read_is_not_reported_and_asks_nobody(stage: Stage) -> None:
    stage.source.error = DeadlineExceeded("The operating system did not answer within 5 s.")
    assert not await stage.reporting.report_once()
    assert stage.reporter.lookups == 0
    with pytest.raises(DeadlineExceeded):
        await stage.reporting.snapshot()


async def test_health_goes_from_failed_to_ok_to_degraded(stage: Stage) -> None:
    before = stage.reporting.health()
    assert (before.service, before.machine, before.node_id) == ("node_agent", "mainpc", "node-1")
    assert (before.is_alive, before.is_ready, before.started_at_s) == (True, False, 1_000.0)
    assert [(check.name, check.status) for check in before.checks] == [
        ("report", CheckStatus.FAILED),
        ("vram", CheckStatus.DEGRADED),
        ("machine", CheckStatus.OK),
    ]
    await stage.reporting.report_once()
    well = stage.reporting.health()
    assert well.is_ready
    assert {check.status for check in well.checks} == {CheckStatus.OK}
    stage.reporter.error = ServiceUnavailable("away.")
    await stage.reporting.report_once()
    after = stage.reporting.health()
    assert not after.is_ready
    assert (after.checks[0].status, after.checks[0].reason) == (CheckStatus.DEGRADED, "away.")


async def test_a_judgement_is_told_with_each_snapshot_and_shown_in_health(stage: Stage) -> None:
    condition = MachineCondition(status="warning", checked_at_s=1.0, findings=("disk is warning: 90 %",))
    stage.reporting.condition = lambda: condition
    await stage.reporting.report_once()
    assert stage.reporter.requests[-1].snapshot.condition == condition
    assert (await stage.reporting.snapshot()).condition == condition
    health = stage.reporting.health()
    check = next(check for check in health.checks if check.name == "machine")
    assert (check.status, check.reason) == (CheckStatus.DEGRADED, "disk is warning: 90 %")
    assert health.is_ready


async def test_the_latest_snapshot_is_that_of_the_last_report_unless_that_is_old(stage: Stage) -> None:
    first = await stage.reporting.latest()
    assert first.taken_at_s == stage.clock.now_s()
    await stage.reporting.report_once()
    reported_at_s = stage.clock.now_s()
    stage.clock.advance(PLAN.period_s)
    assert (await stage.reporting.latest()).taken_at_s == reported_at_s
    stage.clock.advance(PLAN.period_s)
    assert (await stage.reporting.latest()).taken_at_s == stage.clock.now_s()


async def test_health_names_video_memory_that_ray_was_told_wrongly() -> None:
    stage = Stage(ReportingPlan(machine="mainpc", period_s=2.0, timeout_s=5.0, told_to_ray_mib=12_288))
    await stage.reporting.report_once()
    health = stage.reporting.health()
    assert health.is_ready
    assert health.checks[1].status is CheckStatus.DEGRADED
    assert health.checks[1].reason.startswith("Ray was told 12288 MiB")


async def test_after_stop_nothing_is_reported_and_the_driver_is_released(stage: Stage) -> None:
    stage.reporting.start()
    await stage.sleeps.is_over.wait()
    await stage.reporting.stop()
    await stage.reporting.stop()
    assert stage.source.is_closed
    assert len(stage.reporter.requests) == 3
    assert stage.reporting.health().checks[0].reason == "reporting is stopped"


async def test_stop_cuts_off_a_report_that_hangs() -> None:
    stage = Stage()
    stage.reporter.hangs = True
    stage.reporting.start()
    await stage.reporter.is_asked.wait()
    await stage.reporting.stop()
    assert stage.source.is_closed


async def test_a_driver_that_does_not_close_does_not_stop_the_stop(stage: Stage) -> None:
    stage.source.close_error = DeadlineExceeded("Closing the graphics driver did not answer within 5 s.")
    await stage.reporting.stop()
    assert not stage.source.is_closed


async def test_snapshots_can_be_asked_for_beside_the_loop(stage: Stage) -> None:
    assert (await stage.reporting.snapshot()).machine == "mainpc"
    assert stage.reporter.requests == []


class Remote(Exception):
    """An error as it arrives from another process."""

    def __init__(self, cause: Exception) -> None:
        super().__init__("Traceback:\n  many lines")
        self.cause = cause


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ServiceUnavailable("away.", "Wait."), "away."),
        (Remote(ServiceUnavailable("away.")), "away."),
        (Remote(ValueError("bad\nmore")), "ValueError: bad"),
        (RuntimeError("first\nsecond"), "RuntimeError: first"),
        (LookupError(), "LookupError"),
    ],
)
def test_the_reason_of_an_error_is_one_line(error: Exception, reason: str) -> None:
    assert reason_of(error) == reason
