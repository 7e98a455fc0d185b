"""From the text of an access token to its claims, with the public keys that this process has."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from zejzl_ray.auth import token_checks
from zejzl_ray.auth.claims import Claims
from zejzl_ray.auth.key_set import KeySet
from zejzl_ray.auth.token_format import parse_token
from zejzl_ray.clock import Clock
from zejzl_ray.errors import Unauthenticated


class UnknownKey(Unauthenticated):
    """No key of this id is known; the caller is told no more than that the token is not accepted.

    Args:
        message: as in ``Unauthenticated``.
        remedy: likewise.
        kid: the key id, of at most 64 harmless characters; ``KeySet.refresh`` may find it.
    """

    def __init__(self, message: str = "", remedy: str = "", kid: str = "") -> None:
        super().__init__(message, remedy)
        self.args = (message, remedy, kid)
        self.kid = kid


class TokenVerifier:
    """Verifies tokens, each from scratch; ``VerifiedTokens`` remembers the result.

    What returns is proved but for two things that are not its own to know: whether the token is for this service, and
    whether it was revoked. ``VerifiedTokens`` checks both.

    Args:
        keys: the public keys that count now.
        clock: for the times of the token.
        issuer: what ``iss`` has to be.
        leeway_s: how far ``iat`` and ``nbf`` may lie in the future, for clocks that differ; none for the expiry.
    """

    def __init__(self, keys: KeySet, clock: Clock, *, issuer: str = "zejzl", leeway_s: float = 5.0) -> None:
        self.keys = keys
        self.leeway_s = leeway_s
        self._clock = clock
        self._issuer = issuer

    def verify(self, token: str) -> Claims:
        """Return the claims of a token.

        Raises:
            UnknownKey: the key may be new; ask ``KeySet.refresh`` and verify once more.
            TokenExpired: it was valid once.
            Unauthenticated: malformed, or not accepted; one text each, whatever the reason.
        """
        parts = parse_token(token)
        key = require_known_key(self.keys, parts.key_id)
        token_checks.require_signature(parts, key)
        claims = token_checks.claims_of(parts.claims, parts.key_id, self._issuer)
        self.check_times(claims, self._clock.now_s())
        return claims

    def check_times(self, claims: Claims, now_s: float) -> None:
        """Compare the times of a token with the clock's.

        Raises:
            TokenExpired: its time is over.
            Unauthenticated: its time has not come yet.
        """
        token_checks.require_unexpired(claims, now_s)
        token_checks.require_issued(claims, now_s, self.leeway_s)
        token_checks.require_started(claims, now_s, self.leeway_s)


def unknown_key(kid: str) -> UnknownKey:
    """Return the error for a key id that is not known (any more)."""
    return UnknownKey(token_checks.NOT_ACCEPTED, token_checks.GET_NEW, kid)


def require_known_key(keys: KeySet, kid: str) -> Ed25519PublicKey:
    """Return the key of this id; refuse the token when there is none."""
    key = keys.find(kid)
    if key is None:
        raise unknown_key(kid)
    return key
