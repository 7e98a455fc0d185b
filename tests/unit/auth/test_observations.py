"""Counting refused calls for the detectors."""

import asyncio
from collections.abc import Sequence

import pytest
import structlog

from zejzl_ray.auth.observations import Observer
from zejzl_ray.contracts.trust import Observation
from zejzl_ray.errors import ServiceUnavailable
from zejzl_ray.testing import ManualClock


class Detectors:
    """Keeps what was reported; raises what a test sets."""

    def __init__(self) -> None:
        self.reports: list[list[Observation]] = []
        self.error: Exception | None = None
        self.has_report = asyncio.Event()

    async def report(self, observations: Sequence[Observation]) -> None:
        if self.error is not None:
            raise self.error
        self.reports.append(list(observations))
        self.has_report.set()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def observer(clock: ManualClock) -> Observer:
    return Observer(clock, max_kinds=3)


async def test_equal_refusals_are_one_observation_with_a_count(
    observer: Observer, clock: ManualClock
) -> None:
    detectors = Detectors()
    observer.count("denied", subject="user:ada", operation="core.stop")
    clock.advance(1)
    observer.count("denied", subject="user:ada", operation="core.stop")
    observer.count("unauthenticated", address="10.0.0.5")
    assert await observer.report_once(detectors)
    assert [[(one.kind, one.subject, one.address, one.count) for one in detectors.reports[0]]] == [
        [("denied", "user:ada", "", 2), ("unauthenticated", "", "10.0.0.5", 1)]
    ]
    assert detectors.reports[0][0].at_s == clock.now_s()
    assert len(observer) == 0


async def test_nothing_counted_is_no_report(observer: Observer) -> None:
    detectors = Detectors()
    assert await observer.report_once(detectors)
    assert detectors.reports == []


def test_what_does_not_fit_is_counted_by_its_kind(observer: Observer) -> None:
    for number in range(10_000):
        observer.count("rate_limited", address=f"10.0.0.{number}")
    assert len(observer) == 4
    counts = {one.address: one.count for one in observer.take()}
    assert counts == {"10.0.0.0": 1, "10.0.0.1": 1, "10.0.0.2": 1, "": 9997}


async def test_what_could_not_be_reported_is_kept_and_said_once(observer: Observer) -> None:
    detectors = Detectors()
    detectors.error = ServiceUnavailable("away")
    observer.count("denied", subject="user:ada")
    with structlog.testing.capture_logs() as lines:
        assert not await observer.report_once(detectors)
        detectors.error = OSError("broken")
        assert not await observer.report_once(detectors)
    assert [line["error"] for line in lines] == ["away"]
    observer.count("denied", subject="user:ada")
    detectors.error = None
    assert await observer.report_once(detectors)
    assert detectors.reports[0][0].count == 2


async def test_a_report_holds_a_thousand_at_most(clock: ManualClock) -> None:
    observer = Observer(clock, max_kinds=1500)
    for number in range(1500):
        observer.count("denied", subject=f"user:u{number}")
    detectors = Detectors()
    await observer.report_once(detectors)
    assert (len(detectors.reports[0]), len(observer)) == (1000, 500)


async def test_it_reports_every_period_and_at_the_end(observer: Observer) -> None:
    detectors = Detectors()
    stop = asyncio.Event()
    observer.count("denied")
    running = asyncio.create_task(observer.run(detectors, stop, period_s=0.001))
    async with asyncio.timeout(5):
        await detectors.has_report.wait()
        observer.count("ip_blocked", address="10.0.0.9")
        stop.set()
        await running
    assert [one.kind for report in detectors.reports for one in report] == ["denied", "ip_blocked"]
    assert len(observer) == 0
