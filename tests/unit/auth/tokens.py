"""Keys, claims and verifiers for the tests of tokens."""

from dataclasses import replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.utils import base64url_encode

from zejzl_ray.auth.claims import Claims
from zejzl_ray.auth.key_set import KeySet
from zejzl_ray.auth.token_signing import sign_token
from zejzl_ray.auth.token_verifier import TokenVerifier
from zejzl_ray.contracts.tokens import PublicKey
from zejzl_ray.testing.clock import ManualClock

NOW_S = 1_700_000_000
KEYS = {kid: Ed25519PrivateKey.from_private_bytes(kid.encode().ljust(32)) for kid in ("k1", "k2", "k3")}
ALICE = Claims(
    subject="user:alice",
    grants=("core_orchestrator:agents:read", "*:machines:*"),
    audience="zejzl",
    session="s1",
    token_id="t1",
    issued_at_s=NOW_S,
    not_before_s=NOW_S,
    expires_at_s=NOW_S + 900,
    key_id="k1",
)


def public(kid: str, key: str = "") -> PublicKey:
    """Return the public half of a key, under its own id or another."""
    raw = KEYS[key or kid].public_key().public_bytes_raw()
    return PublicKey(kid=kid, x=base64url_encode(raw).decode())


def claims(**changes: Any) -> Claims:
    """Return claims that are valid but for what is changed."""
    return replace(ALICE, **changes)


def signed(**changes: Any) -> str:
    """Return a token with these claims."""
    changed = claims(**changes)
    return sign_token(changed, KEYS[changed.key_id])


def verifier(clock: ManualClock, *kids: str) -> TokenVerifier:
    """Return a verifier that knows these keys; k1 and k2 when none is named."""
    keys = KeySet(clock)
    keys.replace(public(kid) for kid in kids or ("k1", "k2"))
    return TokenVerifier(keys, clock)
