"""Tokens that were verified before need no second look at their signature."""

from collections import OrderedDict
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from zejzl_ray.auth import token_checks
from zejzl_ray.auth.claims import Claims
from zejzl_ray.auth.revocations import RevocationList
from zejzl_ray.auth.token_verifier import TokenVerifier, unknown_key
from zejzl_ray.clock import Clock
from zejzl_ray.errors import Unauthenticated

DEFAULT_SIZE: Final = 4096


class VerifiedTokens:
    """Checks tokens, and remembers those whose signature was right.

    What can change is looked at in every check: the times, the audience, whether the token was revoked, and whether
    its key still counts. Only good signatures are remembered, so that nobody can fill the memory with made-up tokens;
    the least recently used goes first. One that has expired goes when it is shown again, or once new tokens come and
    those used less recently have gone.

    Args:
        verifier: for tokens that are not remembered.
        revocations: asked again for a token when they have changed since its last check.
        clock: for the times of a token.
        size: most tokens that are remembered, at most 8 KiB each.
    """

    def __init__(
        self, verifier: TokenVerifier, revocations: RevocationList, clock: Clock, *, size: int = DEFAULT_SIZE
    ) -> None:
        self._verifier = verifier
        self._keys = verifier.keys
        self._revocations = revocations
        self._now_s = clock.now_s
        self._size = size
        # text -> what is known of it, the least recently used first
        self._entries: OrderedDict[str, _Entry] = OrderedDict()

    def __len__(self) -> int:
        """Return how many tokens are remembered."""
        return len(self._entries)

    def check(self, token: str, audiences: frozenset[str]) -> Claims:
        """Return the claims of a token that counts here and now; the same object each time while it is remembered.

        Args:
            token: its text.
            audiences: names that this process answers to.

        Raises:
            UnknownKey: its key may be new; ask ``KeySet.refresh`` and check once more.
            TokenExpired: get a new one.
            TokenRevoked: the token, its session or its subject was revoked.
            Unauthenticated: malformed, or not accepted; one text each, whatever the reason.
        """
        entry = self._entries.get(token) if isinstance(token, str) else None
        if entry is None:
            entry = self._verified(token)
        else:
            self._entries.move_to_end(token)
        claims = entry.claims
        try:
            self._verifier.check_times(claims, self._now_s())
            if entry.keys_revision != self._keys.revision:
                require_kept_key(entry.key, self._keys.find(claims.key_id), claims.key_id)
                entry.keys_revision = self._keys.revision
        except Unauthenticated:
            del self._entries[token]
            raise
        token_checks.require_audience(claims, audiences)
        if entry.revocations_revision != self._revocations.revision:
            token_checks.require_unrevoked(self._revocations.find(claims))
            entry.revocations_revision = self._revocations.revision
        return claims

    def _verified(self, token: str) -> "_Entry":
        claims = self._verifier.verify(token)
        key = self._keys.find(claims.key_id)
        self._forget_expired()
        entry = self._entries[token] = _Entry(claims, key, self._keys.revision)
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)
        return entry

    def _forget_expired(self) -> None:
        """Let go of those that nobody shows any more: each renewal of a token leaves one behind."""
        now_s = self._now_s()
        while self._entries:
            oldest = next(iter(self._entries))
            if self._entries[oldest].claims.expires_at_s > now_s:
                return
            del self._entries[oldest]


class _Entry:
    """A token whose signature was right, and up to which news it has been looked at."""

    __slots__ = ("claims", "key", "keys_revision", "revocations_revision")

    def __init__(self, claims: Claims, key: Ed25519PublicKey | None, keys_revision: int) -> None:
        self.claims = claims
        self.key = key
        self.keys_revision = keys_revision
        self.revocations_revision = -1  # older than any: not looked at yet


def require_kept_key(known: Ed25519PublicKey | None, current: Ed25519PublicKey | None, kid: str) -> None:
    """Refuse a remembered token whose key was taken away or replaced."""
    if known is not current:
        raise unknown_key(kid)
