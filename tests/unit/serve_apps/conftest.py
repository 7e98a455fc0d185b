from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import httpx2
import pytest
from fastapi import FastAPI

from serve_apps.app import create_app
from serve_apps.config import IngressConfig
from serve_apps.middleware.authentication import BearerToken
from serve_apps.registry_replica import RegistryReplica
from tests.unit.serve_apps.fake_registry import FakeRegistry
from zejzl_ray.clock import Clock, SystemClock

TOKEN = "t" * 40


class Ingress:
    """The application over a fake registry, and a client with the token."""

    def __init__(self, registry: FakeRegistry, replica: RegistryReplica, app: FastAPI) -> None:
        self.registry = registry
        self.replica = replica
        self.app = app
        self.client = httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app, raise_app_exceptions=False),
            base_url="http://ingress",
            headers={"authorization": f"Bearer {TOKEN}"},
        )

    async def settle(self) -> None:
        """Wait until the replica has every change of the registry."""
        while self.replica.machines_staleness_s == float("inf"):
            await self.replica.wait_for_change(0.01)
        await self.replica.wait_for_revision(self.registry.revision)
        while self.replica.staleness_s == float("inf"):
            await self.replica.wait_for_change(0.01)


Start = Callable[..., "object"]


@pytest.fixture
async def start() -> AsyncIterator[Callable[..., object]]:
    """Return a function that starts an ingress; all are stopped at the end."""
    async with AsyncExitStack() as stack:

        async def begin(
            config: IngressConfig | None = None, clock: Clock | None = None, registry: FakeRegistry | None = None
        ) -> Ingress:
            registry = registry or FakeRegistry()
            config = config or IngressConfig(poll_s=0.02, min_revision_wait_s=0.05, stream_keep_alive_s=0.02)
            clock = clock or SystemClock()
            replica = RegistryReplica(registry, clock, config)
            ingress = Ingress(registry, replica, create_app(registry, replica, config, clock, BearerToken(TOKEN)))
            await replica.start()
            stack.push_async_callback(replica.stop)
            stack.push_async_callback(ingress.client.aclose)
            return ingress

        yield begin


@pytest.fixture
async def ingress(start: Callable[..., object]) -> Ingress:
    """Return an ingress that has read an empty registry."""
    begun = await start()  # type: ignore[misc]  # the fixture's function is a coroutine function
    assert isinstance(begun, Ingress)
    await begun.settle()
    return begun
