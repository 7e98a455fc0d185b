"""Judging a machine: the worst counts, nothing is invented, and the history stays small."""

import asyncio
import contextlib

import pytest

from zejzl_ray.contracts.machines import MachineSnapshot
from zejzl_ray.errors import DeadlineExceeded
from zejzl_ray.machine.monitor import MachineMonitor, recommendations
from zejzl_ray.machine.severity import Measured, Severity, Threshold, judge
from zejzl_ray.testing.gpus import fake_gpu, fake_snapshot


def snapshot(
    cpu: float = 0.1, ram: int = 10, disk: int = 10, at_s: float = 0.0, **more: object
) -> MachineSnapshot:
    figures: dict[str, object] = {
        "cpu_busy_ratio": cpu,
        "ram_total_mib": 100,
        "ram_used_mib": ram,
        "disk_total_mib": 100,
        "disk_used_mib": disk,
        "taken_at_s": at_s,
        "gpus": (),
    }
    return fake_snapshot().model_copy(update=figures | more)


class Source:
    """Gives one snapshot after another; a number is its CPU, None is a machine that does not answer."""

    def __init__(self, *cpu: float | None) -> None:
        self.cpu = list(cpu)
        self.at_s = 0.0

    async def snapshot(self) -> MachineSnapshot:
        cpu = self.cpu.pop(0)
        if cpu is None:
            raise DeadlineExceeded("The operating system did not answer within 2 s.")
        self.at_s += 30
        return snapshot(cpu, at_s=self.at_s)


def test_a_later_warning_does_not_hide_an_earlier_critical() -> None:
    check = judge(snapshot(cpu=0.95, ram=85, disk=90), Measured())
    assert check.severity is Severity.CRITICAL
    assert check.findings == {
        "cpu": Severity.CRITICAL,
        "memory": Severity.WARNING,
        "disk": Severity.WARNING,
    }
    assert check.bottlenecks() == [
        "CPU is critical: 95 %, the limit is 90 %",
        "memory is warning: 85 %, the limit is 80 %",
        "disk is warning: 90 %, the limit is 85 %",
    ]


def test_what_nobody_measured_is_absent_and_what_was_measured_counts() -> None:
    assert judge(snapshot(), Measured()).figures.keys() == {"cpu", "memory", "disk"}
    check = judge(snapshot(), Measured(response_s=6.0, error_ratio=0.07))
    assert check.severity is Severity.CRITICAL
    assert check.findings == {"response_ms": Severity.CRITICAL, "error_percent": Severity.WARNING}
    assert check.bottlenecks()[0] == "response time is critical: 6000 ms, the limit is 5000 ms"


def test_the_fullest_card_counts() -> None:
    cards = tuple(
        fake_gpu(index=index).model_copy(update={"vram_total_mib": total, "vram_used_mib": used})
        for index, (total, used) in enumerate([(100, 10), (100, 99), (0, 0)])
    )
    check = judge(snapshot(gpus=cards), Measured())
    assert check.figures["gpu_memory"] == 99
    assert check.severity is Severity.CRITICAL
    assert judge(snapshot(ram_total_mib=0), Measured()).figures["memory"] == 0


@pytest.mark.parametrize(
    ("value", "severity"),
    [(70, Severity.HEALTHY), (70.1, Severity.WARNING), (90, Severity.WARNING), (90.1, Severity.CRITICAL)],
)
def test_a_threshold_is_exceeded_and_not_reached(value: float, severity: Severity) -> None:
    assert Threshold(70, 90).judge(value) is severity


async def test_trends_compare_the_last_twenty_checks_with_those_before() -> None:
    monitor = MachineMonitor(Source(*[0.1] * 9, *[0.2] * 11, *[0.8] * 20))
    assert monitor.report() is None
    for _ in range(9):
        await monitor.check()
    assert monitor.trends() is None
    for _ in range(11):
        await monitor.check()
    trends = monitor.trends()
    assert trends is not None
    assert (trends.checks, trends.changes["cpu"], trends.healthy_percent) == (20, 0, 100)
    for _ in range(20):
        await monitor.check()
    trends = monitor.trends()
    assert trends is not None
    assert trends.averages["cpu"] == pytest.approx(80)
    assert trends.changes["cpu"] == pytest.approx(80 - 15.5)
    assert trends.statuses == {"healthy": 20, "warning": 20, "critical": 0}
    assert trends.healthy_percent == 50


async def test_the_report_has_findings_trends_and_what_to_do() -> None:
    monitor = MachineMonitor(Source(*[0.1] * 30, *[0.85] * 10), lambda: Measured(response_s=1.5))
    for _ in range(40):
        await monitor.check()
    report = monitor.report()
    assert report is not None
    assert report.latest is monitor.latest
    assert report.monitored_s == 39 * 30
    assert report.bottlenecks == ("CPU is warning: 85 %, the limit is 70 %",)
    told = "\n".join(report.recommendations)
    for expected in (
        "CPU is at 85 %",
        "response time is at 1500 ms",
        "CPU grew by 37.5 points",
        "only 75 % of the checks",
    ):
        assert expected in told


def test_a_machine_that_is_well_gets_no_advice() -> None:
    assert recommendations(judge(snapshot(), Measured()), None) == []


async def test_the_history_is_bounded() -> None:
    monitor = MachineMonitor(Source(*[0.1] * 300), history=50)
    assert monitor.latest is None
    for _ in range(300):
        await monitor.check()
    trends = monitor.trends()
    assert trends is not None
    assert trends.checks == 50


async def test_the_loop_outlives_a_machine_that_does_not_answer() -> None:
    monitor = MachineMonitor(Source(0.1, None, 0.95, 0.1))
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 4:
            raise asyncio.CancelledError

    with contextlib.suppress(asyncio.CancelledError):
        await monitor.run(period_s=7, sleep=sleep)
    assert slept == [7] * 4
    assert monitor.latest is not None
    assert monitor.latest.severity is Severity.HEALTHY


async def test_a_figure_that_was_not_measured_before_has_no_trend() -> None:
    measured = [Measured()] * 20 + [Measured(response_s=1.0)] * 20
    monitor = MachineMonitor(Source(*[0.1] * 40), lambda: measured.pop(0))
    for _ in range(40):
        await monitor.check()
    trends = monitor.trends()
    assert trends is not None
    assert (trends.averages["response_ms"], trends.changes["response_ms"]) == (1000, 0)


async def test_the_condition_is_what_others_are_told() -> None:
    monitor = MachineMonitor(Source(0.95, *([0.1] * 9)))
    assert monitor.condition() is None
    await monitor.check()
    first = monitor.condition()
    assert first is not None
    assert (first.status, first.checks, first.healthy_ratio, first.averages) == ("critical", 1, None, {})
    assert first.findings == ("CPU is critical: 95 %, the limit is 90 %",)
    assert first.advice
    for _ in range(9):
        await monitor.check()
    later = monitor.condition()
    assert later is not None
    assert (later.status, later.checks, later.healthy_ratio) == ("healthy", 10, 0.9)
    assert later.averages["cpu"] == pytest.approx(18.5)
