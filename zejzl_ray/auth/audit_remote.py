"""The audit trail of a process without a store: it is handed over to whoever keeps it."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from zejzl_ray.contracts.audit import AuditEntry, AuditRecorded, ChainHead, RecordAudit
from zejzl_ray.errors import Conflict

MAX_ENTRIES: Final = 1000  # of one request


class RemoteAuditSink:
    """An ``AuditSink`` that hands entries over to the gateway; for ingress and node agents.

    Args:
        record: hands entries over and returns where the chain stands then; safe to repeat.
        head: asks where a chain stands. Left out, every chain is new with its process; name it by something that
            no other process has.
    """

    def __init__(
        self,
        record: Callable[[RecordAudit], Awaitable[AuditRecorded]],
        head: Callable[[str], Awaitable[ChainHead | None]] | None = None,
    ) -> None:
        self._record = record
        self._head = head
        self._last: ChainHead | None = None
        self._is_given_up = False

    async def head(self, chain: str) -> ChainHead | None:
        """Return where the chain stands, as far as this process can know; null for a new one."""
        if self._head is not None:
            return await self._head(chain)
        is_its = self._last is not None and self._last.chain == chain and not self._is_given_up
        return self._last if is_its else None

    async def append(self, entries: Sequence[AuditEntry]) -> None:
        """Hand the entries over, in requests of at most 1,000; repeating it is safe.

        Raises:
            Conflict: they do not continue the chain.
            Unavailable: who keeps them is away; repeat it.
        """
        for start in range(0, len(entries), MAX_ENTRIES):
            part = tuple(entries[start : start + MAX_ENTRIES])
            # No validation once more: the entries are models already.
            try:
                self._last = (await self._record(RecordAudit(entries=part))).head
            except Conflict:
                # Who keeps it gives a chain up that was silent for a month, and its name begins anew. Should that be
                # wrong too, the next try goes on from what was known again.
                self._is_given_up = not self._is_given_up
                raise
            self._is_given_up = False
