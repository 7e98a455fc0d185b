"""What a host tells the hub, while the hub fails in every way."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from structlog.testing import capture_logs

from zejzl_ray.bus.post_office import PostOffice
from zejzl_ray.clock import SystemClock
from zejzl_ray.cluster import agent_host_reports
from zejzl_ray.cluster.agent_host_reports import HostReports
from zejzl_ray.errors import ServiceUnavailable


class Hub:
    """Fails in each report as it is told, then waits for ever."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.is_done = asyncio.Event()

    async def report_performance(self, report: object) -> object:
        if not self.failures:
            self.is_done.set()
            await asyncio.Event().wait()
        raise self.failures.pop(0)


@pytest.fixture
async def office() -> AsyncIterator[PostOffice]:
    made = PostOffice(host="alpha")
    yield made
    await made.close()


@pytest.mark.parametrize("failure", [ServiceUnavailable("away"), ValueError("a fault")])
async def test_whatever_goes_wrong_is_told_once_and_reported_again(
    office: PostOffice, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    monkeypatch.setattr(agent_host_reports, "FIGURES_PERIOD_S", 0.0)
    hub: Any = Hub(failure, failure)
    reports = HostReports(office, hub, "pc2", SystemClock())
    assert reports.problem == ""
    with capture_logs() as lines:
        running = asyncio.create_task(reports.run())
        async with asyncio.timeout(10):
            await hub.is_done.wait()
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    assert [line["what"] for line in lines] == ["figures"]
    assert reports.problem.startswith("figures: ")
