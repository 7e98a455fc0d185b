"""Tokens, credentials, sessions and keys on the wire.

A credential is long-lived and opaque; it is exchanged for an access token, which is short-lived and signed. A
session is a person's login: access tokens from a refresh token that changes with every use.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import Field, StringConstraints

from zejzl_ray.contracts.access import ANY_SERVICE, Grant, RoleName, Subject
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.call import REQUEST_ID_PATTERN
from zejzl_ray.contracts.wire_secret import Digest, WireSecret
from zejzl_ray.ids import NAME_PATTERN, new_id

RequestId = Annotated[str, StringConstraints(pattern=REQUEST_ID_PATTERN)]
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
RecordId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
# One service, or one host of agents: agent_host.NAME.
Audience = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}(\.[A-Za-z][A-Za-z0-9_.-]{0,127})?$", max_length=192),
]
MAX_GRANTS: Final = 64
MAX_PAGE: Final = 1000


class PasswordGrant(Contract):
    """A person logs in."""

    kind: Literal["password"] = "password"
    user: str = Field(min_length=1, max_length=128)
    password: WireSecret = Field(max_length=1024)


class CredentialGrant(Contract):
    """A credential is exchanged: of an outside program, an agent, a machine, a service, or an administrator's file."""

    kind: Literal["credential"] = "credential"
    credential: WireSecret = Field(max_length=512)


class SignatureGrant(Contract):
    """A signed request is exchanged: for callers that cannot hold tokens.

    The signature is HMAC-SHA256 with the credential's signing secret over the lines of method, target, digest of the
    body, time and nonce; ``auth/signed_requests.py`` builds them.
    """

    kind: Literal["signature"] = "signature"
    credential_id: RecordId
    method: str = Field(pattern=r"^[A-Z]{3,7}$")
    target: str = Field(min_length=1, max_length=8192, description="path and query as sent")
    body_digest: Digest
    at_s: int = Field(ge=0, description="wall time of the signature, whole seconds")
    nonce: str = Field(pattern=r"^[A-Za-z0-9_-]{16,64}$")
    signature: Digest


class IssueToken(Contract):
    """Exchange a proof for an access token; narrower scopes and audience on request."""

    grant: Annotated[PasswordGrant | CredentialGrant | SignatureGrant, Field(discriminator="kind")]
    scopes: tuple[Grant, ...] = Field(
        default=(), max_length=MAX_GRANTS, description="at most these; empty: all"
    )
    audience: Audience = ANY_SERVICE
    lifetime_s: float | None = Field(
        default=None, gt=0, le=3600, description="at most this long; null: the default"
    )
    request_id: RequestId = Field(default_factory=new_id)


class RefreshTokens(Contract):
    """Exchange a refresh token for the next one and a new access token.

    The same token with the same request id within 30 s gets the same answer. Anything else ends the session.
    """

    refresh_token: WireSecret = Field(max_length=512)
    request_id: RequestId


class Tokens(Contract):
    """A new access token, and after a login its refresh token."""

    access_token: WireSecret
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105  a scheme, not a secret
    subject: str
    scopes: tuple[str, ...]
    audience: str
    issued_at_s: float
    expires_at_s: float
    session: str
    refresh_token: WireSecret | None = None
    refresh_expires_at_s: float | None = None


class RevokeTokens(Contract):
    """Revoke by exactly one of: token, session or credential, principal, or everything issued before a moment.

    ``token_id`` is a token's ``jti``, ``session`` its ``sid``. Safe to repeat.
    """

    token_id: RecordId | None = None
    session: RecordId | None = None
    subject: Subject | None = None
    everything_before_s: float | None = Field(default=None, gt=0)
    reason: str = Field(default="", max_length=256)
    request_id: RequestId = Field(default_factory=new_id)


class Revoked(Contract):
    """What was revoked; verifiers with a connected feed refuse it within a second."""

    feed_revision: int
    ended_sessions: int = 0
    ended_credentials: int = 0


class Session(Contract):
    """One login of a person."""

    session: str
    subject: str
    created_at_s: float
    last_used_at_s: float
    expires_at_s: float
    address: str = ""
    is_active: bool = True
    ended_because: str = ""


class ListSessions(Contract):
    """List logins; of one person, or of all."""

    subject: Subject | None = None
    limit: int = Field(default=100, ge=1, le=MAX_PAGE)
    cursor: str = Field(default="", max_length=128)


class ListOwnSessions(Contract):
    """List the caller's own logins."""


class SessionPage(Contract):
    """Logins, newest first."""

    sessions: tuple[Session, ...]
    next_cursor: str = ""


class EndSession(Contract):
    """End a login; its tokens are revoked. A caller may end its own without further rights. Safe to repeat."""

    session: RecordId
    request_id: RequestId = Field(default_factory=new_id)


class CreateCredential(Contract):
    """Make a credential for a subject; its text is in the answer and nowhere else.

    Roles and grants that are not given are those of the subject's kind. Repeated with the same request id, the answer
    is the same for as long as the gateway keeps it (10 min).
    """

    subject: Subject
    label: str = Field(default="", max_length=128)
    roles: tuple[RoleName, ...] = Field(default=(), max_length=16)
    scopes: tuple[Grant, ...] = Field(default=(), max_length=MAX_GRANTS)
    lifetime_s: float | None = Field(default=None, gt=0, description="null: until it is revoked")
    is_signing: bool = Field(default=False, description="for signed requests; the secret is kept encrypted")
    calls_per_minute: int | None = Field(default=None, ge=1, le=1_000_000)
    request_id: RequestId = Field(default_factory=new_id)


class Credential(Contract):
    """A credential without its secret."""

    credential_id: str
    subject: str
    label: str = ""
    roles: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    created_at_s: float
    created_by: str = ""
    expires_at_s: float | None = None
    last_used_at_s: float | None = Field(default=None, description="to the minute")
    is_signing: bool = False
    calls_per_minute: int | None = None
    is_active: bool = True
    is_pending: bool = Field(default=False, description="a machine that waits for approval")
    ended_because: str = ""


class NewCredential(Contract):
    """A credential and its secret, shown once."""

    credential: Credential
    secret: WireSecret = Field(description="what CredentialGrant takes; or the signing secret")


class ListCredentials(Contract):
    """List credentials without their secrets."""

    subject: Subject | None = None
    label: str = Field(default="", max_length=128, description="part of the label")
    is_active_only: bool = False
    limit: int = Field(default=100, ge=1, le=MAX_PAGE)
    cursor: str = Field(default="", max_length=128)


class CredentialPage(Contract):
    """Credentials in the order of their ids."""

    credentials: tuple[Credential, ...]
    next_cursor: str = ""


class RevokeCredential(Contract):
    """End a credential and revoke the tokens that came from it; safe to repeat."""

    credential_id: RecordId
    reason: str = Field(default="", max_length=256)
    request_id: RequestId = Field(default_factory=new_id)


class RequestEnrolment(Contract):
    """A new machine asks to be let in; anybody may ask, nobody is in before somebody approves.

    The machine makes its credential itself and shows only the digest of it. Asking again with the same digest returns
    the state; another digest under a name that waits or is in is refused.
    """

    machine: Name
    secret_digest: Digest
    note: str = Field(default="", max_length=256)
    request_id: RequestId = Field(default_factory=new_id)


class Enrolment(Contract):
    """Where a machine's request stands; compare the code on both screens before approving."""

    machine: str
    credential_id: str
    code: str = Field(description="short form of the digest, for the eyes")
    state: Literal["pending", "approved", "refused"]
    requested_at_s: float
    expires_at_s: float | None = None


class DecideEnrolment(Contract):
    """Let a waiting machine in, or refuse it."""

    machine: Name
    code: str = Field(max_length=64, description="as shown by the machine")
    is_approved: bool
    request_id: RequestId = Field(default_factory=new_id)


class EnsureAdministrator(Contract):
    """The composition root says which credential file is the administrator's; there is one at a time.

    Makes the user ``admin`` with the role admin if there is none. Another credential than before replaces that one,
    which is revoked. Safe to repeat.
    """

    secret_digest: Digest
    credential_id: RecordId
    request_id: RequestId = Field(default_factory=new_id)


class GetKeys(Contract):
    """Ask for the public keys."""


class PublicKey(Contract):
    """A public key as RFC 8037 writes it."""

    kty: Literal["OKP"] = "OKP"
    crv: Literal["Ed25519"] = "Ed25519"
    alg: Literal["EdDSA"] = "EdDSA"
    use: Literal["sig"] = "sig"
    kid: RecordId
    x: str = Field(pattern=r"^[A-Za-z0-9_-]{43}$")


class KeySetDocument(Contract):
    """JWKS (RFC 7517): the keys that may have signed a token that is still valid, and the next one."""

    keys: tuple[PublicKey, ...]


class RotateKeys(Contract):
    """Begin a rotation now: the next key signs once it has been published long enough."""

    is_immediate: bool = Field(
        default=False, description="the old keys are gone at once, with all tokens that they signed"
    )
    reason: str = Field(default="", max_length=256)
    request_id: RequestId = Field(default_factory=new_id)


class SigningKey(Contract):
    """One signing key, without its private half."""

    kid: str
    state: Literal["next", "signing", "retired"]
    created_at_s: float
    signs_from_s: float | None = None
    retired_at_s: float | None = None
    gone_at_s: float | None = None


class ListSigningKeys(Contract):
    """List the signing keys."""


class SigningKeys(Contract):
    """The signing keys, newest first."""

    keys: tuple[SigningKey, ...]


class WhoAmI(Contract):
    """Ask who the token says that one is."""


class Identity(Contract):
    """Who is calling, what it may do, and how it stands."""

    subject: str
    grants: tuple[str, ...]
    session: str
    expires_at_s: float
    standing: dict[str, Any] = Field(default_factory=dict)
