from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from serve_apps.config import IngressConfig
from tests.unit.serve_apps.fake_registry import FakeRegistry
from tests.unit.serve_apps.running import QUICK, Ingress, StartIngress
from zejzl_ray.clock import Clock, SystemClock


@pytest.fixture
async def start_ingress() -> AsyncIterator[StartIngress]:
    async with AsyncExitStack() as stack:

        async def begin(
            *,
            config: IngressConfig = QUICK,
            clock: Clock | None = None,
            registry: FakeRegistry | None = None,
            is_required: bool = True,
        ) -> Ingress:
            clock = clock or SystemClock()
            ingress = Ingress(registry or FakeRegistry(), config, clock, is_required=is_required)
            await ingress.replica.start()
            stack.push_async_callback(ingress.replica.stop)
            stack.push_async_callback(ingress.client.aclose)
            return ingress

        yield begin


@pytest.fixture
async def ingress(start_ingress: StartIngress) -> Ingress:
    """An ingress that has read an empty registry."""
    begun = await start_ingress()
    await begun.settle()
    return begun
