"""The application over a fake registry, running in the test's loop."""

from typing import Protocol

import httpx2
from fastapi import FastAPI

from serve_apps.app import create_app
from serve_apps.config import IngressConfig
from serve_apps.registry_replica import RegistryReplica
from tests.unit.serve_apps.fake_registry import FakeRegistry
from tests.unit.serve_apps.one_token_door import OneTokenDoor
from zejzl_ray.clock import Clock
from zejzl_ray.contracts.caller import Caller

TOKEN = "t" * 40
QUICK = IngressConfig(poll_s=0.02, min_revision_wait_s=0.05, stream_keep_alive_s=0.02)


class Ingress:
    """An application, its replica, the registry behind it, and a client with the token."""

    def __init__(
        self,
        registry: FakeRegistry,
        config: IngressConfig,
        clock: Clock,
        *,
        is_required: bool = True,
        caller: Caller | None = None,
    ) -> None:
        self.registry = registry
        self.replica = RegistryReplica(registry, clock, config)
        self.door = OneTokenDoor(TOKEN, is_required=is_required)
        self.app: FastAPI = create_app(caller or registry, self.replica, config, clock, self.door)
        self.client = httpx2.AsyncClient(
            transport=httpx2.ASGITransport(self.app, raise_app_exceptions=False),
            base_url="http://ingress",
            headers={"authorization": f"Bearer {TOKEN}"},
        )

    async def settle(self) -> None:
        """Wait until the replica has read the registry as it is now."""
        while "no copy" in self.replica.why_not_fresh() or self.replica.revision < self.registry.revision:
            await self.replica.wait_for_change(0.005)


class StartIngress(Protocol):
    """Starts an ingress that ends with the test."""

    async def __call__(
        self,
        *,
        config: IngressConfig = QUICK,
        clock: Clock | None = None,
        registry: FakeRegistry | None = None,
        is_required: bool = True,
    ) -> Ingress: ...
