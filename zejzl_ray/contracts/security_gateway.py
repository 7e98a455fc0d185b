"""security_gateway on the wire: its operations.

The models stand by subject in ``tokens``, ``people``, ``trust``, ``policy``, ``security_feed``, ``audit`` and
``secrets``.
"""

from typing import Final

from zejzl_ray.contracts import audit, people, policy, secrets, security_feed, tokens, trust
from zejzl_ray.contracts.operation import PUBLIC, Operation, OperationsOf

SERVICE: Final = "security_gateway"


_op: Final = OperationsOf(SERVICE)

OPERATIONS: Final[tuple[Operation, ...]] = (
    # tokens
    _op("issue_token", tokens.IssueToken, tokens.Tokens, PUBLIC, "POST", "/v1/auth/token"),
    _op("refresh_tokens", tokens.RefreshTokens, tokens.Tokens, PUBLIC, "POST", "/v1/auth/refresh"),
    _op("get_keys", tokens.GetKeys, tokens.KeySetDocument, PUBLIC, "GET", "/.well-known/jwks.json"),
    _op("who_am_i", tokens.WhoAmI, tokens.Identity, "self:read", "GET", "/v1/auth/me"),
    _op("revoke_tokens", tokens.RevokeTokens, tokens.Revoked, "tokens:admin", "POST", "/v1/auth/revoke"),
    _op("list_sessions", tokens.ListSessions, tokens.SessionPage, "sessions:read", "GET", "/v1/auth/sessions"),
    _op(
        "list_own_sessions", tokens.ListOwnSessions, tokens.SessionPage, "self:read",
        "GET", "/v1/auth/me/sessions",
    ),
    _op(
        "end_session", tokens.EndSession, tokens.Revoked, "sessions:admin",
        "DELETE", "/v1/auth/sessions/{session}",
    ),
    _op(
        "end_own_session", tokens.EndSession, tokens.Revoked, "self:report",
        "DELETE", "/v1/auth/me/sessions/{session}",
    ),
    # credentials
    _op(
        "create_credential", tokens.CreateCredential, tokens.NewCredential, "credentials:admin",
        "POST", "/v1/auth/credentials", status=201,
    ),
    _op(
        "list_credentials", tokens.ListCredentials, tokens.CredentialPage, "credentials:read",
        "GET", "/v1/auth/credentials",
    ),
    _op(
        "revoke_credential", tokens.RevokeCredential, tokens.Revoked, "credentials:admin",
        "DELETE", "/v1/auth/credentials/{credential_id}",
    ),
    _op(
        "request_enrolment", tokens.RequestEnrolment, tokens.Enrolment, PUBLIC, "POST", "/v1/auth/enrolments",
    ),
    _op(
        "decide_enrolment", tokens.DecideEnrolment, tokens.Enrolment, "machines:admin",
        "POST", "/v1/auth/enrolments/{machine}/decision",
    ),
    _op(
        "ensure_administrator", tokens.EnsureAdministrator, tokens.Credential, "bootstrap:admin",
        "PUT", "/v1/auth/administrator",
    ),
    # keys
    _op("list_signing_keys", tokens.ListSigningKeys, tokens.SigningKeys, "keys:read", "GET", "/v1/auth/keys"),
    _op("rotate_keys", tokens.RotateKeys, tokens.SigningKeys, "keys:admin", "POST", "/v1/auth/keys/rotate"),
    # people
    _op("create_user", people.CreateUser, people.User, "users:admin", "POST", "/v1/auth/users", status=201),
    _op("list_users", people.ListUsers, people.UserPage, "users:read", "GET", "/v1/auth/users"),
    _op("get_user", people.GetUser, people.User, "users:read", "GET", "/v1/auth/users/{user}",
        own=("self:read", "user")),
    _op("update_user", people.UpdateUser, people.User, "users:admin", "PATCH", "/v1/auth/users/{user}"),
    _op("delete_user", people.DeleteUser, people.UserDeleted, "users:admin", "DELETE", "/v1/auth/users/{user}"),
    _op(
        "set_password", people.SetPassword, people.User, "users:admin", "POST", "/v1/auth/users/{user}/password",
        own=("self:report", "user"),
    ),
    # policy
    _op("get_policy", policy.GetPolicy, policy.PolicyInForce, "policy:read", "GET", "/v1/auth/policy"),
    _op("set_policy", policy.SetPolicy, policy.PolicyInForce, "policy:admin", "PUT", "/v1/auth/policy"),
    _op(
        "explain_access", policy.ExplainAccess, policy.AccessExplanation, "policy:read",
        "POST", "/v1/auth/explain",
    ),
    # trust and threats
    _op(
        "report_evidence", trust.ReportEvidence, trust.EvidenceAccepted, "trust:report", "POST", "/v1/auth/evidence",
    ),
    _op("get_trust", trust.GetTrust, trust.Trust, "trust:read", "GET", "/v1/auth/trust/{subject}"),
    _op("list_trust", trust.ListTrust, trust.TrustList, "trust:read", "GET", "/v1/auth/trust"),
    _op(
        "get_trust_history", trust.GetTrustHistory, trust.TrustHistory, "trust:read",
        "GET", "/v1/auth/trust/{subject}/history",
    ),
    _op("reset_trust", trust.ResetTrust, trust.Trust, "trust:admin", "POST", "/v1/auth/trust/{subject}/reset"),
    _op(
        "report_observations", trust.ReportObservations, trust.ObservationsAccepted, "threats:report",
        "POST", "/v1/auth/observations",
    ),
    _op(
        "list_security_events", trust.ListSecurityEvents, trust.SecurityEvents, "threats:read",
        "GET", "/v1/auth/events",
    ),
    # feed and audit
    _op("watch_feed", security_feed.WatchFeed, security_feed.FeedBatch, "feed:read", "GET", "/v1/auth/feed"),
    _op("anchor_audit", audit.AnchorAudit, audit.Anchored, "audit:report", "POST", "/v1/auth/audit/anchors"),
    _op("record_audit", audit.RecordAudit, audit.AuditRecorded, "audit:report", "POST", "/v1/auth/audit/entries"),
    # secrets
    _op("set_secret", secrets.SetSecret, secrets.SecretInfo, "secrets:admin", "PUT", "/v1/secrets/{name}"),
    _op("list_secrets", secrets.ListSecrets, secrets.SecretList, "secrets:admin", "GET", "/v1/secrets"),
    _op("get_secret", secrets.GetSecret, secrets.SecretValue, "secrets:own", "GET", "/v1/secrets/{name}/value"),
    _op(
        "rotate_secret", secrets.RotateSecret, secrets.SecretInfo, "secrets:admin",
        "POST", "/v1/secrets/{name}/rotate",
    ),
    _op("revoke_secret", secrets.RevokeSecret, secrets.SecretInfo, "secrets:admin", "DELETE", "/v1/secrets/{name}"),
    _op(
        "rotate_master_key", secrets.RotateMasterKey, secrets.MasterKeyRotated, "keys:admin",
        "POST", "/v1/auth/master-key/rotate",
    ),
)  # fmt: skip
