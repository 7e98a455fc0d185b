"""Signed requests: for callers that can compute an HMAC and cannot hold tokens.

The signature is HMAC-SHA256 over six lines: a fixed first line, method, target, digest of the body, time and nonce.
No field can hold a line break, so that two different requests never have the same text.
"""

import hashlib
import hmac
import re
import secrets
from typing import Final

from pydantic import SecretStr, ValidationError

from zejzl_ray.auth.credential_text import is_same, login_refused
from zejzl_ray.contracts.tokens import SignatureGrant
from zejzl_ray.errors import InvalidInput

SKEW_S: Final = 300
"""How far the signer's clock may be off, both ways, seconds."""
SCHEME: Final = "ZEJZL-HMAC-SHA256"
"""Scheme of the ``Authorization`` header of a signed request."""

_FIRST_LINE: Final = "zejzl-signed-request/1"
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 16
_METHOD: Final = re.compile(r"[A-Z]{3,7}")
_TARGET: Final = re.compile(r"/[\x21-\x7e]{0,8191}")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_NONCE: Final = re.compile(r"[A-Za-z0-9_-]{16,64}")
_LONGEST_HEADER: Final = 512
_HEADER: Final = re.compile(
    rf"{SCHEME} credential=([0-9a-f]{{16}}), at=(0|[1-9][0-9]{{0,11}}), "
    r"nonce=([A-Za-z0-9_-]{16,64}), signature=([0-9a-f]{64})"
)


def canonical_text(method: str, target: str, body_digest: str, at_s: int, nonce: str) -> str:
    """Return what is signed.

    Args:
        method: of the HTTP request, upper case.
        target: path and query exactly as sent, printable ASCII.
        body_digest: SHA-256 of the body as sent, hexadecimal; of no bytes when there is none.
        at_s: wall time of the signature, whole seconds.
        nonce: 16 to 64 characters that this credential has not used before.

    Raises:
        InvalidInput: a field has another form; says which.
    """
    for name, pattern, value in (
        ("method", _METHOD, method),
        ("target", _TARGET, target),
        ("digest of the body", _DIGEST, body_digest),
        ("nonce", _NONCE, nonce),
    ):
        if pattern.fullmatch(value) is None:
            raise InvalidInput(
                f"The {name} of a signed request has a wrong form.",
                "See docs/security.md for what is signed and how.",
            )
    if at_s < 0:
        raise InvalidInput("The time of a signed request is before 1970.", "Set the clock of this machine.")
    return "\n".join((_FIRST_LINE, method, target, body_digest, str(at_s), nonce))


def body_digest_of(body: bytes) -> str:
    """Return the digest of a body as it stands in the signed text."""
    return hashlib.sha256(body).hexdigest()


def sign(secret: SecretStr, method: str, target: str, body_digest: str, at_s: int, nonce: str) -> str:
    """Return the signature of a request, hexadecimal.

    ``secret`` is the signing secret, 64 hexadecimal digits; the other arguments are those of ``canonical_text``.

    Raises:
        InvalidInput: a field or the secret has another form.
    """
    return _hmac(secret, canonical_text(method, target, body_digest, at_s, nonce))


def is_signed(secret: SecretStr, grant: SignatureGrant) -> bool:
    """Tell whether the signature is right; says nothing of time and nonce. Compares in constant time."""
    try:
        text = canonical_text(grant.method, grant.target, grant.body_digest, grant.at_s, grant.nonce)
    except InvalidInput:
        return False
    return is_same(_hmac(secret, text), grant.signature)


def is_timely(at_s: int, now_s: float) -> bool:
    """Tell whether a signature of this time is still, or already, taken."""
    return abs(now_s - at_s) <= SKEW_S


def sign_request(
    credential_id: str,
    secret: SecretStr,
    method: str,
    target: str,
    body: bytes = b"",
    *,
    at_s: int,
    nonce: str | None = None,
) -> SignatureGrant:
    """Return the proof of one request; with no nonce given, a new one.

    Repeating an honest request means sending the same proof again: it gets the stored answer.

    Raises:
        InvalidInput: a field or the secret has another form.
    """
    nonce = secrets.token_urlsafe(_NONCE_BYTES) if nonce is None else nonce
    digest = body_digest_of(body)
    return SignatureGrant(
        credential_id=credential_id,
        method=method,
        target=target,
        body_digest=digest,
        at_s=at_s,
        nonce=nonce,
        signature=sign(secret, method, target, digest, at_s, nonce),
    )


def request_id_of(grant: SignatureGrant) -> str:
    """Return the request id of the call that a signed request makes.

    The same proof gives the same id, so that the service's own window of repeated commands answers a repetition.
    """
    return f"sig-{grant.credential_id}-{grant.nonce}"


def write_header(grant: SignatureGrant) -> str:
    """Return the value of the ``Authorization`` header of a signed request."""
    return (
        f"{SCHEME} credential={grant.credential_id}, at={grant.at_s}, nonce={grant.nonce},"
        f" signature={grant.signature}"
    )


def read_header(header: str, method: str, target: str, body: bytes) -> SignatureGrant:
    """Return the proof that came with a request; nothing of it is checked yet.

    Args:
        header: value of ``Authorization``.
        method: of the request as it came.
        target: path and query as they came, before any decoding.
        body: as it came.

    Raises:
        LoginRefused: the header or the request has another form.
    """
    found = _HEADER.fullmatch(header) if len(header) <= _LONGEST_HEADER else None
    if found is None:
        raise login_refused()
    try:
        return SignatureGrant(
            credential_id=found[1],
            method=method,
            target=target,
            body_digest=body_digest_of(body),
            at_s=int(found[2]),
            nonce=found[3],
            signature=found[4],
        )
    except ValidationError:
        raise login_refused() from None


def _hmac(secret: SecretStr, text: str) -> str:
    try:
        key = bytes.fromhex(secret.get_secret_value())
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise InvalidInput(
            "The signing secret is not 64 hexadecimal digits.", "Use it as it was shown when it was made."
        )
    return hmac.new(key, text.encode("ascii"), hashlib.sha256).hexdigest()
