"""Saved states of agents, each in a namespace of its own of the services' store."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from zejzl_ray.clock import Clock
from zejzl_ray.cluster.shared_store import service_store_url
from zejzl_ray.errors import StaleEpoch
from zejzl_ray.settings import Settings
from zejzl_ray.store.open import open_store
from zejzl_ray.store.protocol import Put, Store

_KEY: Final = "state"
_MOST_CHARACTERS: Final = 128  # of a namespace

OpenStore = Callable[[str], Awaitable[Store]]


@dataclass(slots=True)
class _Opened:
    store: Store
    epoch: int


class AgentStates:
    """A ``StateStore``: an agent that moves to another host finds its state there.

    A namespace is opened when an agent with state starts. Whoever opened it last writes; a host that was thought dead
    and is not is refused from then on.

    Args:
        opened: opens the store of a namespace.
    """

    def __init__(self, opened: OpenStore) -> None:
        self._open_store = opened
        self._stores: dict[str, _Opened] = {}
        self._lock = asyncio.Lock()

    async def load(self, agent: str) -> bytes | None:
        """Return what was saved last; None when nothing was.

        Raises:
            StoreLocked: another process still has it open.
            StoreUnavailable: nobody answers at the store's address.
        """
        found = await (await self._opened(agent)).store.get(_KEY)
        return None if found is None else found.value

    async def save(self, agent: str, data: bytes) -> None:
        """Keep it; durable when this returns, as the store promises.

        Raises:
            StaleEpoch: another host runs this agent now.
            StoreUnavailable: nobody answers at the store's address.
        """
        opened = await self._opened(agent)
        try:
            await opened.store.commit([Put(_KEY, data)], epoch=opened.epoch)
        except StaleEpoch:
            raise StaleEpoch(
                f"Another host runs {agent} now, so its state is not saved here.", "Stop it on one of the hosts."
            ) from None

    async def close(self) -> None:
        """Close all of them; safe to repeat."""
        stores, self._stores = list(self._stores.values()), {}
        await asyncio.gather(*(opened.store.close() for opened in stores), return_exceptions=True)

    async def _opened(self, agent: str) -> _Opened:
        async with self._lock:
            known = self._stores.get(agent)
            if known is None:
                store = await self._open_store(namespace_of(agent))
                try:
                    known = _Opened(store, await store.take_epoch())
                except BaseException:
                    await store.close()
                    raise
                self._stores[agent] = known
        return known


def namespace_of(agent: str) -> str:
    """Return the namespace of an agent's state; a long name is shortened to one that is still its own."""
    name = f"state.{agent}"
    if len(name) > _MOST_CHARACTERS:
        name = f"state.{agent[:50]}.{hashlib.sha256(agent.encode()).hexdigest()[:32]}"
    return name


def opener(settings: Settings, host: str, clock: Clock) -> OpenStore:
    """Return what opens the services' store for a host of agents."""

    async def open_one(namespace: str) -> Store:
        url = await asyncio.to_thread(service_store_url, settings)
        return await open_store(url.get_secret_value(), namespace, clock=clock, owner=f"agent host {host}")

    return open_one
