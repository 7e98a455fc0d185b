"""The operations of security_gateway on the audit trail."""

from zejzl_ray.contracts.access import Principal, principal_of
from zejzl_ray.contracts.audit import (
    AnchorAudit,
    Anchored,
    AuditPage,
    AuditRecorded,
    ChainHead,
    Chains,
    ListChains,
    ReadAudit,
    RecordAudit,
)
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.security_gateway import SERVICE
from zejzl_ray.security import audit_keeping
from zejzl_ray.security.service_core import GatewayCore

_ITSELF = Principal(subject=f"service:{SERVICE}")


class AuditOperations(GatewayCore):
    """The gateway's own chain, where the others stand, and the chains of processes without a store."""

    async def list_audit_chains(self, request: ListChains, call: CallContext) -> Chains:
        """Return the chains that are kept here, and where each stands."""
        return audit_keeping.chains(self.records, self._reading().now_s)

    async def read_audit(self, request: ReadAudit, call: CallContext) -> AuditPage:
        """Return entries of a chain.

        Raises:
            NotFound: no such chain is kept here.
            StoreUnavailable: the store cannot be reached.
        """
        now_s = self._reading().now_s
        return await audit_keeping.read(self._store, self.records, request, now_s)

    async def anchor_audit(self, request: AnchorAudit, call: CallContext) -> Anchored:
        """Write where a chain stands into the gateway's own. Errors as ``audit_keeping.decide_anchor``."""
        caller = principal_of(call)
        return await self._command(
            "anchor_audit",
            request,
            call,
            Anchored,
            lambda draft: audit_keeping.decide_anchor(draft, request, caller),
            is_kept=False,  # the head makes it the same
        )

    async def record_audit(self, request: RecordAudit, call: CallContext) -> AuditRecorded:
        """Keep the next entries of a process's chain. Errors as ``audit_keeping.decide_record``."""
        return await self._record_audit(request, call, principal_of(call))

    # --- for the guard of this very process ------------------------------------------------------------------

    async def keep_entries(self, request: RecordAudit) -> AuditRecorded:
        """Keep entries of a chain of this very process, such as that of its guard."""
        return await self._record_audit(request, CallContext(), _ITSELF)

    async def keep_anchor(self, head: ChainHead) -> Anchored:
        """Write where a chain of this very process stands into the gateway's own."""
        request = AnchorAudit(head=head)
        return await self._command(
            "anchor_audit",
            request,
            CallContext(),
            Anchored,
            lambda draft: audit_keeping.decide_anchor(draft, request, _ITSELF),
            is_kept=False,
        )

    async def chain_head(self, chain: str) -> ChainHead | None:
        """Return where a chain stands here; null for a new one."""
        return audit_keeping.head_of(self.records, chain, self._reading().now_s)

    async def _record_audit(
        self, request: RecordAudit, call: CallContext, caller: Principal
    ) -> AuditRecorded:
        return await self._command(
            "record_audit",
            request,
            call,
            AuditRecorded,
            lambda draft: audit_keeping.decide_record(draft, request, caller),
            is_kept=False,  # the hashes make it the same
        )
