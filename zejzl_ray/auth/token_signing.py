"""Writing access tokens: what the gateway does, and the tests of everybody who verifies."""

from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt import PyJWS

from zejzl_ray.auth.claims import Claims
from zejzl_ray.auth.token_checks import claims_of
from zejzl_ray.auth.token_format import ALGORITHM, MAX_TOKEN_BYTES, TOKEN_TYPE, is_identifier
from zejzl_ray.errors import InvalidInput, Unauthenticated

_JWS = PyJWS(algorithms=[ALGORITHM])


def sign_token(claims: Claims, private_key: Ed25519PrivateKey, *, issuer: str = "zejzl") -> str:
    """Return the text of an access token.

    Args:
        claims: what it says; ``key_id`` names the public half of ``private_key``.
        private_key: signs it.
        issuer: its ``iss``.

    Raises:
        InvalidInput: with so many grants it would be longer than a verifier takes.
        ValueError: every verifier would refuse these claims; nothing was signed.
    """
    fields = fields_of(claims, issuer)
    try:
        if claims_of(fields, claims.key_id, issuer) != claims or not is_identifier(claims.key_id):
            raise ValueError("these claims cannot be written as a token")
    except Unauthenticated:
        raise ValueError("every verifier would refuse these claims") from None
    token = _JWS.encode(
        orjson.dumps(fields),
        private_key,
        algorithm=ALGORITHM,
        headers={"typ": TOKEN_TYPE, "kid": claims.key_id},
    )
    if len(token) > MAX_TOKEN_BYTES:
        raise InvalidInput(
            f"The access token would have {len(token)} bytes; {MAX_TOKEN_BYTES} is the most.",
            "Ask for fewer scopes, or for wider ones.",
        )
    return token


def fields_of(claims: Claims, issuer: str) -> dict[str, Any]:
    """Return the claims under the names that they have in a token."""
    return {
        "iss": issuer,
        "aud": claims.audience,
        "sub": claims.subject,
        "jti": claims.token_id,
        "sid": claims.session,
        "iat": claims.issued_at_s,
        "nbf": claims.not_before_s,
        "exp": claims.expires_at_s,
        "scope": " ".join(claims.grants),
    }
