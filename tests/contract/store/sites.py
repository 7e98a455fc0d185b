"""One way to make and open each kind of site, with stores of more than one namespace over it."""

import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from zejzl_ray.store import MemoryState, MemoryStore, Store
from zejzl_ray.store.image import ImageHead, Record
from zejzl_ray.store.redis import RedisStore
from zejzl_ray.store.site import StoreSite
from zejzl_ray.store.site_memory import MemorySite
from zejzl_ray.store.site_open import open_site
from zejzl_ray.store.sqlite import SqliteStore
from zejzl_ray.testing import ManualClock
from zejzl_ray.testing.redis_server import RedisServer

databases = itertools.count(1)


class SiteBackend(Protocol):
    clock: ManualClock

    async def open_site(self) -> StoreSite: ...

    async def open(self, namespace: str) -> Store: ...


@dataclass
class MemorySites:
    clock: ManualClock = field(default_factory=ManualClock)
    states: dict[str, MemoryState] = field(default_factory=dict)

    async def open_site(self) -> StoreSite:
        return MemorySite(self.states)

    async def open(self, namespace: str) -> Store:
        state = self.states.setdefault(namespace, MemoryState())
        return MemoryStore(clock=self.clock, state=state, name=namespace)


@dataclass
class SqliteSites:
    directory: Path
    clock: ManualClock = field(default_factory=ManualClock)

    async def open_site(self) -> StoreSite:
        return await open_site(f"sqlite://{self.directory}")

    async def open(self, namespace: str) -> Store:
        return await SqliteStore.open(self.directory, namespace, clock=self.clock, timeout_s=30)


@dataclass
class RedisSites:
    server: RedisServer
    clock: ManualClock = field(default_factory=ManualClock)
    database: int = field(default_factory=lambda: next(databases) % 16)

    @property
    def url(self) -> str:
        return f"redis://{self.server.address}/{self.database}"

    async def open_site(self) -> StoreSite:
        return await open_site(self.url)

    async def open(self, namespace: str) -> Store:
        return await RedisStore.open(self.url, namespace, clock=self.clock, timeout_s=30)


async def records_at(site: StoreSite, namespace: str) -> list[Record]:
    return [record async for batch in site.export(namespace) for record in batch]


async def content_at(site: StoreSite, namespace: str) -> list[Record]:
    """All but the head, whose epoch a restore raises."""
    return [record for record in await records_at(site, namespace) if not isinstance(record, ImageHead)]
