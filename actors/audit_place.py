"""Where a service keeps its audit trail: a namespace of the store beside its own, opened when it is first needed."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from zejzl_ray.auth.audit_store import StoreAuditSink
from zejzl_ray.contracts.audit import AuditEntry, AuditPage, ChainHead, Chains, ReadAudit
from zejzl_ray.errors import StaleEpoch
from zejzl_ray.store.protocol import Store


class AuditPlace:
    """An ``AuditSink`` whose store may be away at the start; what fails is tried again by the trail.

    Args:
        chain: what is read when no chain is named.
        open_namespace: opens the store.
    """

    def __init__(self, chain: str, open_namespace: Callable[[], Awaitable[Store]]) -> None:
        self._chain = chain
        self._open_namespace = open_namespace
        self._opening = asyncio.Lock()
        self._fault: StaleEpoch | None = None
        self._store: Store | None = None
        self._sink: StoreAuditSink | None = None

    async def head(self, chain: str) -> ChainHead | None:
        """Return where the chain stands; None for a new one."""
        return await (await self._opened()).head(chain)

    async def append(self, entries: Sequence[AuditEntry]) -> None:
        """Keep the entries; durable on return."""
        sink = await self._opened()
        try:
            await sink.append(entries)
        except StaleEpoch as error:
            # A newer process of this service writes, and this one is about to end: opening anew would take it back.
            self._fault = error
            await self.close()
            raise

    async def read(self, request: ReadAudit) -> AuditPage:
        """Return entries of a chain; of the own one when none is named."""
        return await (await self._opened()).read(request)

    async def chains(self) -> Chains:
        """Return the chains that are kept here."""
        return await (await self._opened()).chains()

    async def close(self) -> None:
        """Close the store; safe to repeat."""
        store, self._store, self._sink = self._store, None, None
        if store is not None:
            await store.close()

    async def _opened(self) -> StoreAuditSink:
        async with self._opening:
            if self._fault is not None:
                raise StaleEpoch(*self._fault.args)
            if self._sink is None:
                store = await self._open_namespace()
                try:
                    sink = StoreAuditSink(store, own_chain=self._chain)
                    await sink.open()
                except BaseException:
                    await store.close()
                    raise
                self._store, self._sink = store, sink
            return self._sink
