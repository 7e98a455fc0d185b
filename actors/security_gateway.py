"""The Ray shell of security_gateway: one line a method."""

import ray

from actors.closed import closed
from actors.gateway_ports import master_keys, own_ports
from actors.place import ServiceOptions
from actors.shells import host_gateway
from zejzl_ray.auth.ports import AuditRecorder
from zejzl_ray.clock import SystemClock
from zejzl_ray.cluster.names import SECURITY_GATEWAY
from zejzl_ray.contracts import audit, people, policy, secrets, security_feed, tokens, trust
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.health import GetHealth, ServiceHealth
from zejzl_ray.contracts.life import Stopped, StopService
from zejzl_ray.security.config import SecurityConfig
from zejzl_ray.security.service import SecurityGateway
from zejzl_ray.store.protocol import Store


@closed(SECURITY_GATEWAY)
class SecurityGatewayActor:
    """security_gateway as a named actor. A command that returned is in the store; see ``SecurityGateway``."""

    def __init__(self, options: ServiceOptions) -> None:
        def build(store: Store, audit: AuditRecorder) -> SecurityGateway:
            return SecurityGateway(
                store,
                SystemClock(),
                SecurityConfig(
                    publish_ahead_s=options.settings.key_publish_ahead_s,
                    token_life_s=options.settings.token_life_s,
                ),
                master_keys(options.settings),
                audit,
            )

        self._here = host_gateway(SECURITY_GATEWAY, options, build, own_ports)
        self._security = self._here.security

    @ray.method
    async def issue_token(self, request: tokens.IssueToken, call: CallContext) -> tokens.Tokens:
        """Exchange a proof for an access token; narrower scopes and audience on request."""
        return await (await self._here.service()).issue_token(request, call)

    @ray.method
    async def refresh_tokens(self, request: tokens.RefreshTokens, call: CallContext) -> tokens.Tokens:
        """Exchange a refresh token for the next one and a new access token."""
        return await (await self._here.service()).refresh_tokens(request, call)

    @ray.method
    async def get_keys(self, request: tokens.GetKeys, call: CallContext) -> tokens.KeySetDocument:
        """Ask for the public keys."""
        return await (await self._here.service()).get_keys(request, call)

    @ray.method
    async def who_am_i(self, request: tokens.WhoAmI, call: CallContext) -> tokens.Identity:
        """Ask who the token says that one is."""
        return await (await self._here.service()).who_am_i(request, call)

    @ray.method
    async def revoke_tokens(self, request: tokens.RevokeTokens, call: CallContext) -> tokens.Revoked:
        """Revoke by exactly one of: token, session or credential, principal, or everything issued before a moment."""
        return await (await self._here.service()).revoke_tokens(request, call)

    @ray.method
    async def list_sessions(self, request: tokens.ListSessions, call: CallContext) -> tokens.SessionPage:
        """List logins; of one person, or of all."""
        return await (await self._here.service()).list_sessions(request, call)

    @ray.method
    async def list_own_sessions(
        self, request: tokens.ListOwnSessions, call: CallContext
    ) -> tokens.SessionPage:
        """List the caller's own logins."""
        return await (await self._here.service()).list_own_sessions(request, call)

    @ray.method
    async def end_session(self, request: tokens.EndSession, call: CallContext) -> tokens.Revoked:
        """End a login; its tokens are revoked. A caller may end its own without further rights. Safe to repeat."""
        return await (await self._here.service()).end_session(request, call)

    @ray.method
    async def end_own_session(self, request: tokens.EndSession, call: CallContext) -> tokens.Revoked:
        """End a login; its tokens are revoked. A caller may end its own without further rights. Safe to repeat."""
        return await (await self._here.service()).end_own_session(request, call)

    @ray.method
    async def create_credential(
        self, request: tokens.CreateCredential, call: CallContext
    ) -> tokens.NewCredential:
        """Make a credential for a subject; its text is in the answer and nowhere else."""
        return await (await self._here.service()).create_credential(request, call)

    @ray.method
    async def list_credentials(
        self, request: tokens.ListCredentials, call: CallContext
    ) -> tokens.CredentialPage:
        """List credentials without their secrets."""
        return await (await self._here.service()).list_credentials(request, call)

    @ray.method
    async def revoke_credential(self, request: tokens.RevokeCredential, call: CallContext) -> tokens.Revoked:
        """End a credential and revoke the tokens that came from it; safe to repeat."""
        return await (await self._here.service()).revoke_credential(request, call)

    @ray.method
    async def request_enrolment(
        self, request: tokens.RequestEnrolment, call: CallContext
    ) -> tokens.Enrolment:
        """A new machine asks to be let in; anybody may ask, nobody is in before somebody approves."""
        return await (await self._here.service()).request_enrolment(request, call)

    @ray.method
    async def decide_enrolment(self, request: tokens.DecideEnrolment, call: CallContext) -> tokens.Enrolment:
        """Let a waiting machine in, or refuse it."""
        return await (await self._here.service()).decide_enrolment(request, call)

    @ray.method
    async def ensure_administrator(
        self, request: tokens.EnsureAdministrator, call: CallContext
    ) -> tokens.Credential:
        """The composition root says which credential file is the administrator's; there is one at a time."""
        return await (await self._here.service()).ensure_administrator(request, call)

    @ray.method
    async def list_signing_keys(
        self, request: tokens.ListSigningKeys, call: CallContext
    ) -> tokens.SigningKeys:
        """List the signing keys."""
        return await (await self._here.service()).list_signing_keys(request, call)

    @ray.method
    async def rotate_keys(self, request: tokens.RotateKeys, call: CallContext) -> tokens.SigningKeys:
        """Begin a rotation now: the next key signs once it has been published long enough."""
        return await (await self._here.service()).rotate_keys(request, call)

    @ray.method
    async def create_user(self, request: people.CreateUser, call: CallContext) -> people.User:
        """Register a person. The password has to satisfy the policy."""
        return await (await self._here.service()).create_user(request, call)

    @ray.method
    async def list_users(self, request: people.ListUsers, call: CallContext) -> people.UserPage:
        """List people in the order of their names."""
        return await (await self._here.service()).list_users(request, call)

    @ray.method
    async def get_user(self, request: people.GetUser, call: CallContext) -> people.User:
        """Ask for one person."""
        return await (await self._here.service()).get_user(request, call)

    @ray.method
    async def update_user(self, request: people.UpdateUser, call: CallContext) -> people.User:
        """Change roles, or close and open an account. What is null stays. Sessions end where rights shrink."""
        return await (await self._here.service()).update_user(request, call)

    @ray.method
    async def delete_user(self, request: people.DeleteUser, call: CallContext) -> people.UserDeleted:
        """Remove a person; sessions and tokens end. Safe to repeat. The last administrator stays."""
        return await (await self._here.service()).delete_user(request, call)

    @ray.method
    async def set_password(self, request: people.SetPassword, call: CallContext) -> people.User:
        """Change a password. One's own wants the old one; all other sessions of the person end."""
        return await (await self._here.service()).set_password(request, call)

    @ray.method
    async def get_policy(self, request: policy.GetPolicy, call: CallContext) -> policy.PolicyInForce:
        """Ask for the policy in force."""
        return await (await self._here.service()).get_policy(request, call)

    @ray.method
    async def set_policy(self, request: policy.SetPolicy, call: CallContext) -> policy.PolicyInForce:
        """Put another policy in force; tokens of subjects whose rights shrink are revoked. Safe to repeat."""
        return await (await self._here.service()).set_policy(request, call)

    @ray.method
    async def explain_access(
        self, request: policy.ExplainAccess, call: CallContext
    ) -> policy.AccessExplanation:
        """May this subject do this, and why? Changes nothing and is no proof of anything."""
        return await (await self._here.service()).explain_access(request, call)

    @ray.method
    async def report_evidence(
        self, request: trust.ReportEvidence, call: CallContext
    ) -> trust.EvidenceAccepted:
        """Report what was seen; only services and who has the scope may."""
        return await (await self._here.service()).report_evidence(request, call)

    @ray.method
    async def get_trust(self, request: trust.GetTrust, call: CallContext) -> trust.Trust:
        """Ask for one subject; an unknown one gets the prior, said to be unknown."""
        return await (await self._here.service()).get_trust(request, call)

    @ray.method
    async def list_trust(self, request: trust.ListTrust, call: CallContext) -> trust.TrustList:
        """List scores, lowest first."""
        return await (await self._here.service()).list_trust(request, call)

    @ray.method
    async def get_trust_history(
        self, request: trust.GetTrustHistory, call: CallContext
    ) -> trust.TrustHistory:
        """Ask for the last changes of one subject, newest first."""
        return await (await self._here.service()).get_trust_history(request, call)

    @ray.method
    async def reset_trust(self, request: trust.ResetTrust, call: CallContext) -> trust.Trust:
        """Forget what was seen of a subject: an operator's pardon, in the audit trail with its reason."""
        return await (await self._here.service()).reset_trust(request, call)

    @ray.method
    async def report_observations(
        self, request: trust.ReportObservations, call: CallContext
    ) -> trust.ObservationsAccepted:
        """What guards and doors saw: refused calls, counted; the detectors read them."""
        return await (await self._here.service()).report_observations(request, call)

    @ray.method
    async def list_security_events(
        self, request: trust.ListSecurityEvents, call: CallContext
    ) -> trust.SecurityEvents:
        """Ask for the last security events, newest first."""
        return await (await self._here.service()).list_security_events(request, call)

    @ray.method
    async def watch_feed(
        self, request: security_feed.WatchFeed, call: CallContext
    ) -> security_feed.FeedBatch:
        """Wait for changes after ``revision`` of the gateway's ``epoch``; 0 and 0 ask for everything."""
        return await (await self._here.service()).watch_feed(request, call)

    @ray.method
    async def anchor_audit(self, request: audit.AnchorAudit, call: CallContext) -> audit.Anchored:
        """A process writes the head of its chain into the gateway's; a head behind the last anchor is refused."""
        return await (await self._here.service()).anchor_audit(request, call)

    @ray.method
    async def record_audit(self, request: audit.RecordAudit, call: CallContext) -> audit.AuditRecorded:
        """A process without a store of its own (ingress, node agent) hands over the next entries of its chain."""
        return await (await self._here.service()).record_audit(request, call)

    @ray.method
    async def set_secret(self, request: secrets.SetSecret, call: CallContext) -> secrets.SecretInfo:
        """Store a secret for one or several subjects; an existing one gets a new version."""
        return await (await self._here.service()).set_secret(request, call)

    @ray.method
    async def list_secrets(self, request: secrets.ListSecrets, call: CallContext) -> secrets.SecretList:
        """List secrets without their values."""
        return await (await self._here.service()).list_secrets(request, call)

    @ray.method
    async def get_secret(self, request: secrets.GetSecret, call: CallContext) -> secrets.SecretValue:
        """Read a secret of one's own."""
        return await (await self._here.service()).get_secret(request, call)

    @ray.method
    async def rotate_secret(self, request: secrets.RotateSecret, call: CallContext) -> secrets.SecretInfo:
        """Replace a secret's value; its readers stay, and the value before is gone."""
        return await (await self._here.service()).rotate_secret(request, call)

    @ray.method
    async def revoke_secret(self, request: secrets.RevokeSecret, call: CallContext) -> secrets.SecretInfo:
        """Remove a secret; nobody reads it any more. Safe to repeat."""
        return await (await self._here.service()).revoke_secret(request, call)

    @ray.method
    async def rotate_master_key(
        self, request: secrets.RotateMasterKey, call: CallContext
    ) -> secrets.MasterKeyRotated:
        """Encrypt everything at rest with the newest master key of the key file; safe to repeat."""
        return await (await self._here.service()).rotate_master_key(request, call)

    @ray.method
    async def health(self, request: GetHealth, call: CallContext) -> ServiceHealth:
        """Return the service's health; answers while the service is not ready too."""
        return await self._here.health()

    @ray.method
    async def list_audit_chains(self, request: audit.ListChains, call: CallContext) -> audit.Chains:
        """Return the audit chains of this service."""
        return await (await self._here.service()).list_audit_chains(request, call)

    @ray.method
    async def read_audit(self, request: audit.ReadAudit, call: CallContext) -> audit.AuditPage:
        """Return entries of one audit chain."""
        return await (await self._here.service()).read_audit(request, call)

    @ray.method
    async def stop(self, request: StopService, call: CallContext) -> Stopped:
        """Write what is pending and stop serving."""
        return await self._here.stop()
