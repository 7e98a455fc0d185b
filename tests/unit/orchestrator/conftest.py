"""Fixtures of the registry's tests."""

from collections.abc import AsyncIterator

import pytest

from tests.unit.orchestrator.bench import Bench
from zejzl_ray.orchestrator import CoreOrchestrator


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    for service in bench.services:
        service.registry.validate()
        await service.stop()


@pytest.fixture
async def service(bench: Bench) -> CoreOrchestrator:
    return await bench.start()
