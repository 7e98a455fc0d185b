"""The operations of security_gateway on the policy and on trust."""

from zejzl_ray.contracts.access import GOOD_STANDING, principal_of
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.policy import (
    AccessExplanation,
    ExplainAccess,
    GetPolicy,
    PolicyInForce,
    SetPolicy,
)
from zejzl_ray.contracts.services import AGENT_HOST_OPERATIONS, NODE_AGENT_OPERATIONS, OPERATIONS
from zejzl_ray.contracts.trust import (
    EvidenceAccepted,
    GetTrust,
    GetTrustHistory,
    ListTrust,
    ReportEvidence,
    ResetTrust,
    Trust,
    TrustHistory,
    TrustList,
)
from zejzl_ray.security import trust
from zejzl_ray.security.credential_records import CredentialRecord
from zejzl_ray.security.draft import SecurityDraft
from zejzl_ray.security.explain import explain
from zejzl_ray.security.service_core import GatewayCore
from zejzl_ray.security.trust_records import TrustRecord
from zejzl_ray.security.trust_standing import standing_of
from zejzl_ray.security.user_record import UserRecord


class PolicyOperations(GatewayCore):
    """What principals may do, why, and how what is seen of them changes it."""

    async def get_policy(self, request: GetPolicy, call: CallContext) -> PolicyInForce:
        """Return the policy in force, since when and from where."""
        return self._policies.wire(self._reading())

    async def set_policy(self, request: SetPolicy, call: CallContext) -> PolicyInForce:
        """Put another policy in force. Errors as ``PolicyKeeper.decide_set``."""
        caller = principal_of(call)
        return await self._command(
            "set_policy",
            request,
            call,
            PolicyInForce,
            lambda draft: self._policies.decide_set(draft, request, caller, self._sessions, self._revoker),
        )

    async def explain_access(self, request: ExplainAccess, call: CallContext) -> AccessExplanation:
        """Return whether a subject may do something, and every step that leads to the answer.

        Raises:
            InvalidInput: there is no such operation and no such scope; names the nearest.
        """
        draft = self._reading()
        roles, scopes = _rights_of(draft, request.subject)
        policy = self._policy_in(draft)
        record = draft.get(TrustRecord, request.subject)
        standing = GOOD_STANDING if record is None else standing_of(record, policy.trust, draft.now_s)
        operations = (*OPERATIONS, *NODE_AGENT_OPERATIONS, *AGENT_HOST_OPERATIONS)
        return explain(request, policy, roles, standing, operations, extra_scopes=scopes)

    # --- trust -----------------------------------------------------------------------------------------------

    async def report_evidence(self, request: ReportEvidence, call: CallContext) -> EvidenceAccepted:
        """Count evidence, each piece once. Errors as ``trust.decide_report_evidence``."""
        caller = principal_of(call)
        return await self._command(
            "report_evidence",
            request,
            call,
            EvidenceAccepted,
            lambda draft: trust.decide_report_evidence(draft, request, caller, self._policy_in(draft).trust),
            is_kept=False,  # the ids of the evidence make it the same
        )

    async def get_trust(self, request: GetTrust, call: CallContext) -> Trust:
        """Return a subject's trust, what it leads to, and the way back."""
        draft = self._reading()
        return trust.get(draft, request, self._policy_in(draft).trust)

    async def list_trust(self, request: ListTrust, call: CallContext) -> TrustList:
        """Return scores, lowest first."""
        draft = self._reading()
        return trust.list_page(draft, request, self._policy_in(draft).trust)

    async def get_trust_history(self, request: GetTrustHistory, call: CallContext) -> TrustHistory:
        """Return the last changes of one subject, newest first."""
        return trust.history(self._reading(), request)

    async def reset_trust(self, request: ResetTrust, call: CallContext) -> Trust:
        """Forget what was seen of a subject. Errors as ``trust.decide_reset``."""
        caller = principal_of(call)
        return await self._command(
            "reset_trust",
            request,
            call,
            Trust,
            lambda draft: trust.decide_reset(draft, request, caller, self._policy_in(draft).trust),
        )


def _rights_of(draft: SecurityDraft, subject: str) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """Return roles and further grants of a subject's account or credentials; null roles where it has neither."""
    kind, _, name = subject.partition(":")
    if kind == "service":
        return (), ()
    if kind == "user":
        account = draft.get(UserRecord, name)
        return (account.roles, ()) if account is not None and account.is_active else (None, ())
    own = [
        record
        for _, record in draft.all(CredentialRecord)
        if record.subject == subject and record.is_active(draft.now_s)
    ]
    # A machine of the cluster and an agent of a host have credentials of which nothing is stored.
    if not own and kind not in ("machine", "agent"):
        return None, ()
    roles = tuple(dict.fromkeys(role for record in own for role in record.roles))
    return roles, tuple(dict.fromkeys(scope for record in own for scope in record.scopes))
