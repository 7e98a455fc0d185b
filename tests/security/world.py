"""Everything that a token is valid in: keys, a clock, revocations, and who checks."""

import hashlib
from functools import cache

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.utils import base64url_encode

from tests.security.attack import Change
from tests.security.forge import forge
from zejzl_ray.auth.key_set import KeySet
from zejzl_ray.auth.revocations import RevocationList
from zejzl_ray.auth.token_verifier import TokenVerifier
from zejzl_ray.auth.verified_tokens import VerifiedTokens
from zejzl_ray.contracts.tokens import PublicKey
from zejzl_ray.errors import ZejzlError
from zejzl_ray.testing.clock import ManualClock

AUDIENCES = frozenset({"zejzl", "core_orchestrator"})
PUBLISHED = ("key-1", "key-2")


@cache
def private_key(name: str) -> Ed25519PrivateKey:
    """Return the key of a name, the same in every run."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())


def public_key(kid: str, name: str) -> PublicKey:
    """Return what the gateway would publish of a key."""
    raw = private_key(name).public_key().public_bytes_raw()
    return PublicKey(kid=kid, x=base64url_encode(raw).decode())


class World:
    """A verifier with two keys, as a service has it."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.keys = KeySet(self.clock)
        self.keys.replace(public_key(name, name) for name in PUBLISHED)
        self.revocations = RevocationList()
        self.tokens = VerifiedTokens(TokenVerifier(self.keys, self.clock), self.revocations, self.clock)

    def forge(self, change: Change) -> str:
        """Return the token after a change; valid without one."""
        return forge(change, int(self.clock.now_s()), private_key)

    def check(self, token: str, audiences: frozenset[str] = AUDIENCES) -> str:
        """Return what becomes of a token: accepted, or the name of the exception."""
        try:
            self.tokens.check(token, audiences)
        except (ZejzlError, RecursionError, TypeError, KeyError, AttributeError, IndexError) as error:
            return type(error).__name__
        return "accepted"

    def suffer(self, change: Change) -> str:
        """Carry out an attack and return what becomes of it."""
        token = self.forge(change)
        if change.used_before and (before := self.check(token)) != "accepted":
            return f"{before} at its first use"
        self.clock.advance(change.wait_s)
        if change.keys is not None:
            pairs = [(entry.partition("=")[0], entry.rpartition("=")[2]) for entry in change.keys]
            self.keys.replace(public_key(kid, name) for kid, name in pairs)
        if (revocation := change.revocation()) is not None:
            self.revocations.add([revocation])
        audiences = AUDIENCES if change.audiences is None else frozenset(change.audiences)
        return self.check(token, audiences)
