"""The stores of a host of agents: one namespace for its outbox, one for each agent."""

import asyncio
from collections.abc import Awaitable, Callable

from zejzl_ray.clock import Clock
from zejzl_ray.cluster.shared_store import service_store_url
from zejzl_ray.settings import Settings
from zejzl_ray.store.open import open_store
from zejzl_ray.store.protocol import Store


def opener(settings: Settings, host: str, clock: Clock) -> Callable[[str], Awaitable[Store]]:
    """Return what opens a namespace of the services' store for a host of agents.

    What it returns raises StoreLocked where another process still has the namespace open, and StoreUnavailable where
    nobody answers at the store's address.
    """

    async def open_one(namespace: str) -> Store:
        url = await asyncio.to_thread(service_store_url, settings)
        return await open_store(
            url.get_secret_value(),
            namespace,
            clock=clock,
            owner=f"agent host {host}",
            redis_timeout_s=settings.redis_timeout_s,
        )

    return open_one
