"""The audit trail in a store of its own: one log a chain, and where each chain stands.

======================  =======================================================================
log ``audit/<chain>``   the entries, those of one flush in one entry of the log; see ``audit_log``
``head/<chain>``        index and hash of the last entry, index of the oldest that is kept
======================  =======================================================================

Entries and head change in one commit, which the version of the head guards: a commit that was given up and arrives
late is refused, so no entry is ever there twice.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import Field, ValidationError

from zejzl_ray.auth.audit_chain import head_after
from zejzl_ray.auth.audit_log import (
    empty_page,
    join_lines,
    locate,
    log_name,
    oldest_to_keep,
    only_new,
    read_page,
)
from zejzl_ray.contracts.audit import AuditEntry, AuditPage, ChainHead, Chains, ReadAudit
from zejzl_ray.contracts.base import Contract
from zejzl_ray.errors import NotFound, StoreError, VersionConflict
from zejzl_ray.store.protocol import Append, Put, Store, Trim

KEPT_ENTRIES: Final = 1_000_000
_HEAD: Final = "head/"
_PAGE: Final = 1000
_ATTEMPTS: Final = 3


class StoredHead(Contract):
    """What the store says of a chain; ``oldest`` is the index of the oldest entry that is kept."""

    head: ChainHead
    oldest: int = Field(default=1, ge=1)


@dataclass(frozen=True, slots=True)
class _Kept:
    stored: StoredHead
    version: int


class StoreAuditSink:
    """An ``AuditSink`` over a store in a namespace of its own, for the one process that writes it.

    Args:
        store: where entries are kept; the sink becomes its writer.
        own_chain: the chain that is read when none is named.
        keep: entries a chain, about; older ones are given up.
    """

    def __init__(self, store: Store, *, own_chain: str = "", keep: int = KEPT_ENTRIES) -> None:
        self._store = store
        self._own_chain = own_chain
        self._keep = keep
        self._epoch = 0
        self._lock = asyncio.Lock()
        # chain -> what was committed last; absent when that is in doubt. A process writes one chain or two.
        self._kept: dict[str, _Kept] = {}

    async def open(self) -> None:
        """Become the writer; ``append`` does it as well when nobody has.

        Raises:
            StoreUnavailable: the store cannot be reached.
        """
        self._epoch = await self._store.take_epoch()

    async def head(self, chain: str) -> ChainHead | None:
        """Return where the chain stands; null for a new one."""
        kept = await self._read_head(chain)
        return kept.stored.head if kept is not None else None

    async def append(self, entries: Sequence[AuditEntry]) -> None:
        """Keep the entries, all of one chain and in order, in one commit; those already there are passed over.

        Raises:
            Conflict: they do not continue the chain.
            StoreUnavailable: it may or may not have happened; repeat it.
            StaleEpoch: another process writes this store now.
        """
        if not entries:
            return
        async with self._lock:
            if not self._epoch:
                await self.open()
            for attempt in range(1, _ATTEMPTS + 1):
                try:
                    await self._append(entries[0].chain, entries)
                except VersionConflict:  # a commit that was given up has arrived after all
                    if attempt == _ATTEMPTS:
                        raise
                else:
                    break

    async def _append(self, chain: str, entries: Sequence[AuditEntry]) -> None:
        # Taken out: whatever happens before the commit returns, the store is asked again.
        kept = self._kept.pop(chain, None) or await self._read_head(chain)
        new = only_new(entries, kept.stored.head if kept is not None else None)
        if new:
            before = kept.stored.oldest if kept is not None else 1
            key, log = _HEAD + chain, log_name(chain)
            oldest, trim = await self._trimmed(log, before, new[-1].index)
            stored = StoredHead(head=head_after(new), oldest=oldest)
            put = Put(key, stored.model_dump_json().encode())
            version = kept.version if kept is not None else 0
            await self._store.commit(
                [Append(log, join_lines(new)), put, *trim], epoch=self._epoch, expect={key: version}
            )
            kept = _Kept(stored, version + 1)
        if kept is not None:
            self._kept[chain] = kept

    async def _trimmed(self, log: str, oldest: int, last: int) -> tuple[int, list[Trim]]:
        """Return the oldest entry that is kept from now on, and what has to be trimmed for it: whole rows."""
        wanted = oldest_to_keep(oldest, last, self._keep)
        place = await locate(self._store, log, wanted) if wanted > oldest else None
        if place is None or place.first <= oldest:
            return oldest, []
        return place.first, [Trim(log, place.row.index - 1)]

    async def read(self, request: ReadAudit) -> AuditPage:
        """Return entries of one chain, oldest first; an entry that is damaged comes with a hash that does not fit.

        Raises:
            NotFound: no such chain is kept.
            StoreUnavailable: the store cannot be reached.
        """
        chain = request.chain or self._own_chain
        kept = await self._read_head(chain) if chain else None
        if kept is None:
            if not chain or chain != self._own_chain:
                raise NotFound(
                    f"No audit chain of the name {chain!r} is kept here.", "List the chains first."
                )
            return empty_page(chain)
        return await read_page(self._store, log_name(chain), kept.stored.head, kept.stored.oldest, request)

    async def chains(self) -> Chains:
        """Return all chains that are kept, by name."""
        heads: list[ChainHead] = []
        after = ""
        while page := await self._store.scan(_HEAD, after=after, limit=_PAGE):
            heads += [_decode_head(key, stored.value).head for key, stored in page]
            after = page[-1][0]
        return Chains(heads=tuple(heads))

    async def _read_head(self, chain: str) -> _Kept | None:
        key = _HEAD + chain
        found = await self._store.get(key)
        return _Kept(_decode_head(key, found.value), found.version) if found is not None else None


def _decode_head(key: str, value: bytes) -> StoredHead:
    try:
        return StoredHead.model_validate_json(value)
    except ValidationError as error:
        raise StoreError(
            f"The audit trail's store holds something unreadable at {key}.",
            "Restore the store from its backup, or move it away to begin new chains.",
        ) from error
