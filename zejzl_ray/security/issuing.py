"""Access tokens: what a subject holds, narrowed to what was asked for, signed with the key of the moment."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import SecretStr

from zejzl_ray.auth.claims import Claims
from zejzl_ray.auth.ports import AuditRecorder
from zejzl_ray.auth.scopes import is_within, narrowed
from zejzl_ray.auth.token_signing import sign_token
from zejzl_ray.commands.records import RecordDraft, Records
from zejzl_ray.contracts.agent_host import MAIL_GRANTS, is_mail_audience
from zejzl_ray.contracts.tokens import Tokens
from zejzl_ray.errors import Forbidden
from zejzl_ray.security.config import SecurityConfig
from zejzl_ray.security.revoking import least_issued_at_s
from zejzl_ray.security.signing_keys import KeyRing, SigningKeyRecord, signing_key

_TOKEN_ID_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Wish:
    """For whom an access token is, and what was asked for.

    Attributes:
        grants: what the subject holds.
        session: the session or credential that it is issued for.
        scopes: at most these; empty: all that is held.
        audience: one service's name, ``agent_host.NAME`` for the mail to one host, or ``zejzl``.
        lifetime_s: at most this long; null: the default.
        latest_s: wall time at which the session or credential ends; null: never.
    """

    subject: str
    grants: tuple[str, ...]
    session: str
    audience: str
    scopes: tuple[str, ...] = ()
    lifetime_s: float | None = None
    latest_s: float | None = None


class Issuer:
    """Writes access tokens; one costs a signature and no disk.

    Args:
        ring: decrypts the signing key.
        config: lives, issuer.
        audit: is told of every token.
        committed: returns the committed records: only a key that is stored may sign.
    """

    def __init__(
        self, ring: KeyRing, config: SecurityConfig, audit: AuditRecorder, committed: Callable[[], Records]
    ) -> None:
        self._ring = ring
        self._committed = committed
        self._config = config
        self._audit = audit
        self._record: SigningKeyRecord | None = None
        self._private: Ed25519PrivateKey | None = None

    def forget_key(self) -> None:
        """Look the signing key up again with the next token; called whenever the keys may have changed."""
        self._record = self._private = None

    def issue(self, draft: RecordDraft, wish: Wish) -> Tokens:
        """Return an access token, not recorded yet; ``tell`` records it once it is given out.

        Args:
            draft: says which revocations there are, and what time it is; not changed.
            wish: for whom and for what.

        Raises:
            Forbidden: a scope that was asked for is not held.
            InvalidInput: so many scopes that the token would be too long.
            ServiceUnavailable: there is no signing key yet.
        """
        # What is shown to a host of agents must be of no use to it anywhere else.
        held = narrowed(MAIL_GRANTS, wish.grants) if is_mail_audience(wish.audience) else wish.grants
        grants = narrowed_or_refused(wish.scopes, held, wish.subject)
        now_s = draft.now_s
        record, private = self._signing(now_s)
        issued_at_s = least_issued_at_s(draft, wish.subject)
        life_s = min(
            self._config.token_life_s if wish.lifetime_s is None else wish.lifetime_s,
            self._config.max_token_life_s,
        )
        ends_s = now_s + life_s if wish.latest_s is None else min(now_s + life_s, wish.latest_s)
        expires_at_s = max(int(ends_s), issued_at_s + 1)
        token = sign_token(
            Claims(
                subject=wish.subject,
                grants=grants,
                audience=wish.audience,
                session=wish.session,
                token_id=secrets.token_hex(_TOKEN_ID_BYTES),
                issued_at_s=issued_at_s,
                not_before_s=issued_at_s,
                expires_at_s=expires_at_s,
                key_id=record.kid,
            ),
            private,
            issuer=self._config.issuer,
        )
        return Tokens(
            access_token=SecretStr(token),
            subject=wish.subject,
            scopes=grants,
            audience=wish.audience,
            issued_at_s=issued_at_s,
            expires_at_s=expires_at_s,
            session=wish.session,
        )

    def tell(self, tokens: Tokens, proof: str, *, address: str = "", request_id: str = "") -> None:
        """Have the audit trail say that a token was given out."""
        self._audit.record(
            "issued",
            subject=tokens.subject,
            operation="security_gateway.issue_token",
            target=tokens.session,
            reason=proof,
            address=address,
            request_id=request_id,
        )

    def _signing(self, now_s: float) -> tuple[SigningKeyRecord, Ed25519PrivateKey]:
        if self._record is None or self._private is None:
            self._record = signing_key(self._committed(), now_s)
            self._private = self._ring.private_of(self._record)
        return self._record, self._private


def narrowed_or_refused(wanted: Sequence[str], held: tuple[str, ...], subject: str) -> tuple[str, ...]:
    """Return the scopes of a token: those wanted, or all that is held where none are.

    Raises:
        Forbidden: names the first that is not held.
    """
    if not wanted:
        return held
    for scope in wanted:
        if not is_within(scope, held):
            raise Forbidden(
                f"{subject} does not hold {scope}.", "Ask for less, or have an administrator grant it."
            )
    return tuple(dict.fromkeys(wanted))
