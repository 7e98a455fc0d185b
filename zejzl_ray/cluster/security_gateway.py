"""The typed client of security_gateway, over any ``Caller``."""

from typing import TypeVar

from zejzl_ray.contracts import audit, people, policy, secrets, security_feed, tokens, trust
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.caller import Caller
from zejzl_ray.contracts.security_gateway import OPERATIONS

_OPERATIONS = {operation.name: operation for operation in OPERATIONS}
R = TypeVar("R", bound=Contract)


class SecurityGatewayClient:
    """Calls security_gateway; one method an operation, one request in, one model out.

    Args:
        caller: how the calls get there; this client does not close it.
    """

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def issue_token(self, request: tokens.IssueToken, call: CallContext | None = None) -> tokens.Tokens:
        """Exchange a proof for an access token; narrower scopes and audience on request."""
        return await self._call("issue_token", request, call, tokens.Tokens)

    async def refresh_tokens(
        self, request: tokens.RefreshTokens, call: CallContext | None = None
    ) -> tokens.Tokens:
        """Exchange a refresh token for the next one and a new access token."""
        return await self._call("refresh_tokens", request, call, tokens.Tokens)

    async def get_keys(
        self, request: tokens.GetKeys, call: CallContext | None = None
    ) -> tokens.KeySetDocument:
        """Ask for the public keys."""
        return await self._call("get_keys", request, call, tokens.KeySetDocument)

    async def who_am_i(self, request: tokens.WhoAmI, call: CallContext | None = None) -> tokens.Identity:
        """Ask who the token says that one is."""
        return await self._call("who_am_i", request, call, tokens.Identity)

    async def revoke_tokens(
        self, request: tokens.RevokeTokens, call: CallContext | None = None
    ) -> tokens.Revoked:
        """Revoke by exactly one of: token, session or credential, principal, or everything issued before a moment."""
        return await self._call("revoke_tokens", request, call, tokens.Revoked)

    async def list_sessions(
        self, request: tokens.ListSessions, call: CallContext | None = None
    ) -> tokens.SessionPage:
        """List logins; of one person, or of all."""
        return await self._call("list_sessions", request, call, tokens.SessionPage)

    async def list_own_sessions(
        self, request: tokens.ListOwnSessions, call: CallContext | None = None
    ) -> tokens.SessionPage:
        """List the caller's own logins."""
        return await self._call("list_own_sessions", request, call, tokens.SessionPage)

    async def end_session(
        self, request: tokens.EndSession, call: CallContext | None = None
    ) -> tokens.Revoked:
        """End a login; its tokens are revoked. A caller may end its own without further rights. Safe to repeat."""
        return await self._call("end_session", request, call, tokens.Revoked)

    async def end_own_session(
        self, request: tokens.EndSession, call: CallContext | None = None
    ) -> tokens.Revoked:
        """End a login; its tokens are revoked. A caller may end its own without further rights. Safe to repeat."""
        return await self._call("end_own_session", request, call, tokens.Revoked)

    async def create_credential(
        self, request: tokens.CreateCredential, call: CallContext | None = None
    ) -> tokens.NewCredential:
        """Make a credential for a subject; its text is in the answer and nowhere else."""
        return await self._call("create_credential", request, call, tokens.NewCredential)

    async def list_credentials(
        self, request: tokens.ListCredentials, call: CallContext | None = None
    ) -> tokens.CredentialPage:
        """List credentials without their secrets."""
        return await self._call("list_credentials", request, call, tokens.CredentialPage)

    async def revoke_credential(
        self, request: tokens.RevokeCredential, call: CallContext | None = None
    ) -> tokens.Revoked:
        """End a credential and revoke the tokens that came from it; safe to repeat."""
        return await self._call("revoke_credential", request, call, tokens.Revoked)

    async def request_enrolment(
        self, request: tokens.RequestEnrolment, call: CallContext | None = None
    ) -> tokens.Enrolment:
        """A new machine asks to be let in; anybody may ask, nobody is in before somebody approves."""
        return await self._call("request_enrolment", request, call, tokens.Enrolment)

    async def decide_enrolment(
        self, request: tokens.DecideEnrolment, call: CallContext | None = None
    ) -> tokens.Enrolment:
        """Let a waiting machine in, or refuse it."""
        return await self._call("decide_enrolment", request, call, tokens.Enrolment)

    async def ensure_administrator(
        self, request: tokens.EnsureAdministrator, call: CallContext | None = None
    ) -> tokens.Credential:
        """The composition root says which credential file is the administrator's; there is one at a time."""
        return await self._call("ensure_administrator", request, call, tokens.Credential)

    async def list_signing_keys(
        self, request: tokens.ListSigningKeys, call: CallContext | None = None
    ) -> tokens.SigningKeys:
        """List the signing keys."""
        return await self._call("list_signing_keys", request, call, tokens.SigningKeys)

    async def rotate_keys(
        self, request: tokens.RotateKeys, call: CallContext | None = None
    ) -> tokens.SigningKeys:
        """Begin a rotation now: the next key signs once it has been published long enough."""
        return await self._call("rotate_keys", request, call, tokens.SigningKeys)

    async def create_user(self, request: people.CreateUser, call: CallContext | None = None) -> people.User:
        """Register a person. The password has to satisfy the policy."""
        return await self._call("create_user", request, call, people.User)

    async def list_users(self, request: people.ListUsers, call: CallContext | None = None) -> people.UserPage:
        """List people in the order of their names."""
        return await self._call("list_users", request, call, people.UserPage)

    async def get_user(self, request: people.GetUser, call: CallContext | None = None) -> people.User:
        """Ask for one person."""
        return await self._call("get_user", request, call, people.User)

    async def update_user(self, request: people.UpdateUser, call: CallContext | None = None) -> people.User:
        """Change roles, or close and open an account. What is null stays. Sessions end where rights shrink."""
        return await self._call("update_user", request, call, people.User)

    async def delete_user(
        self, request: people.DeleteUser, call: CallContext | None = None
    ) -> people.UserDeleted:
        """Remove a person; sessions and tokens end. Safe to repeat. The last administrator stays."""
        return await self._call("delete_user", request, call, people.UserDeleted)

    async def set_password(self, request: people.SetPassword, call: CallContext | None = None) -> people.User:
        """Change a password. One's own wants the old one; all other sessions of the person end."""
        return await self._call("set_password", request, call, people.User)

    async def get_policy(
        self, request: policy.GetPolicy, call: CallContext | None = None
    ) -> policy.PolicyInForce:
        """Ask for the policy in force."""
        return await self._call("get_policy", request, call, policy.PolicyInForce)

    async def set_policy(
        self, request: policy.SetPolicy, call: CallContext | None = None
    ) -> policy.PolicyInForce:
        """Put another policy in force; tokens of subjects whose rights shrink are revoked. Safe to repeat."""
        return await self._call("set_policy", request, call, policy.PolicyInForce)

    async def explain_access(
        self, request: policy.ExplainAccess, call: CallContext | None = None
    ) -> policy.AccessExplanation:
        """May this subject do this, and why? Changes nothing and is no proof of anything."""
        return await self._call("explain_access", request, call, policy.AccessExplanation)

    async def report_evidence(
        self, request: trust.ReportEvidence, call: CallContext | None = None
    ) -> trust.EvidenceAccepted:
        """Report what was seen; only services and who has the scope may."""
        return await self._call("report_evidence", request, call, trust.EvidenceAccepted)

    async def get_trust(self, request: trust.GetTrust, call: CallContext | None = None) -> trust.Trust:
        """Ask for one subject; an unknown one gets the prior, said to be unknown."""
        return await self._call("get_trust", request, call, trust.Trust)

    async def list_trust(self, request: trust.ListTrust, call: CallContext | None = None) -> trust.TrustList:
        """List scores, lowest first."""
        return await self._call("list_trust", request, call, trust.TrustList)

    async def get_trust_history(
        self, request: trust.GetTrustHistory, call: CallContext | None = None
    ) -> trust.TrustHistory:
        """Ask for the last changes of one subject, newest first."""
        return await self._call("get_trust_history", request, call, trust.TrustHistory)

    async def reset_trust(self, request: trust.ResetTrust, call: CallContext | None = None) -> trust.Trust:
        """Forget what was seen of a subject: an operator's pardon, in the audit trail with its reason."""
        return await self._call("reset_trust", request, call, trust.Trust)

    async def report_observations(
        self, request: trust.ReportObservations, call: CallContext | None = None
    ) -> trust.ObservationsAccepted:
        """What guards and doors saw: refused calls, counted; the detectors read them."""
        return await self._call("report_observations", request, call, trust.ObservationsAccepted)

    async def list_security_events(
        self, request: trust.ListSecurityEvents, call: CallContext | None = None
    ) -> trust.SecurityEvents:
        """Ask for the last security events, newest first."""
        return await self._call("list_security_events", request, call, trust.SecurityEvents)

    async def watch_feed(
        self, request: security_feed.WatchFeed, call: CallContext | None = None
    ) -> security_feed.FeedBatch:
        """Wait for changes after ``revision`` of the gateway's ``epoch``; 0 and 0 ask for everything."""
        return await self._call("watch_feed", request, call, security_feed.FeedBatch)

    async def anchor_audit(
        self, request: audit.AnchorAudit, call: CallContext | None = None
    ) -> audit.Anchored:
        """A process writes the head of its chain into the gateway's; a head behind the last anchor is refused."""
        return await self._call("anchor_audit", request, call, audit.Anchored)

    async def record_audit(
        self, request: audit.RecordAudit, call: CallContext | None = None
    ) -> audit.AuditRecorded:
        """A process without a store of its own (ingress, node agent) hands over the next entries of its chain."""
        return await self._call("record_audit", request, call, audit.AuditRecorded)

    async def set_secret(
        self, request: secrets.SetSecret, call: CallContext | None = None
    ) -> secrets.SecretInfo:
        """Store a secret for one or several subjects; an existing one gets a new version."""
        return await self._call("set_secret", request, call, secrets.SecretInfo)

    async def list_secrets(
        self, request: secrets.ListSecrets, call: CallContext | None = None
    ) -> secrets.SecretList:
        """List secrets without their values."""
        return await self._call("list_secrets", request, call, secrets.SecretList)

    async def get_secret(
        self, request: secrets.GetSecret, call: CallContext | None = None
    ) -> secrets.SecretValue:
        """Read a secret of one's own."""
        return await self._call("get_secret", request, call, secrets.SecretValue)

    async def rotate_secret(
        self, request: secrets.RotateSecret, call: CallContext | None = None
    ) -> secrets.SecretInfo:
        """Replace a secret's value; its readers stay, and the value before is gone."""
        return await self._call("rotate_secret", request, call, secrets.SecretInfo)

    async def revoke_secret(
        self, request: secrets.RevokeSecret, call: CallContext | None = None
    ) -> secrets.SecretInfo:
        """Remove a secret; nobody reads it any more. Safe to repeat."""
        return await self._call("revoke_secret", request, call, secrets.SecretInfo)

    async def rotate_master_key(
        self, request: secrets.RotateMasterKey, call: CallContext | None = None
    ) -> secrets.MasterKeyRotated:
        """Encrypt everything at rest with the newest master key of the key file; safe to repeat."""
        return await self._call("rotate_master_key", request, call, secrets.MasterKeyRotated)

    async def _call(self, name: str, request: Contract, call: CallContext | None, reply: type[R]) -> R:
        answer = await self._caller.call(_OPERATIONS[name], request, call or CallContext())
        if not isinstance(answer, reply):
            raise TypeError(f"{name} answered {type(answer).__name__}, not {reply.__name__}")
        return answer
