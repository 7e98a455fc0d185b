"""What has to be true of a token that is well-formed before anybody believes it: signature, claims, times.

As in ``token_format``, each rule is a function of its own named ``require_...`` that ``tests/security`` turns off.
They name no reason: whoever holds a token that the gateway made needs none, and whoever made one up learns none.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from jwt import PyJWS

from zejzl_ray.auth.claims import Claims
from zejzl_ray.auth.token_format import ALGORITHM, TokenParts, is_identifier
from zejzl_ray.contracts.access import GRANT_PATTERN, SUBJECT_PATTERN
from zejzl_ray.contracts.security_feed import Revocation
from zejzl_ray.errors import TokenExpired, TokenRevoked, Unauthenticated

CLAIM_FIELDS: Final = frozenset({"iss", "aud", "sub", "jti", "iat", "nbf", "exp", "scope", "sid"})
MAX_LIFETIME_S: Final = 3600

NOT_ACCEPTED: Final = "The access token is not accepted."
GET_NEW: Final = "Get a new one and call again."

_ED25519: Final = PyJWS(algorithms=[ALGORITHM]).get_algorithm_by_name(ALGORITHM)
# without the anchors, for fullmatch: `$` of Python also stands before a last line feed
_SUBJECT: Final = re.compile(SUBJECT_PATTERN.removeprefix("^").removesuffix("$"))
_GRANT: Final = re.compile(GRANT_PATTERN.removeprefix("^").removesuffix("$"))
_AUDIENCE: Final = re.compile(r"[a-z][a-z0-9_]{0,63}(\.[A-Za-z][A-Za-z0-9_.-]{0,127})?")


def claims_of(fields: Mapping[str, Any], key_id: str, issuer: str) -> Claims:
    """Return the claims of a token whose signature has been verified; its times are not compared with a clock.

    Raises:
        Unauthenticated: a claim is missing, one too many, of the wrong type or grammar, or contradicts another.
    """
    require_claim_fields(fields)
    require_issuer(fields, issuer)
    require_audience_name(fields)
    require_subject(fields)
    require_identifiers(fields)
    require_scope(fields)
    require_whole_times(fields)
    claims = Claims(
        subject=fields["sub"],
        grants=tuple(fields["scope"].split()),
        audience=fields["aud"],
        session=fields["sid"],
        token_id=fields["jti"],
        issued_at_s=fields["iat"],
        not_before_s=fields["nbf"],
        expires_at_s=fields["exp"],
        key_id=key_id,
    )
    require_expiry_after_issue(claims)
    require_short_life(claims)
    require_expiry_after_start(claims)
    return claims


def not_accepted() -> Unauthenticated:
    """Return the one error for a token that does not count."""
    return Unauthenticated(NOT_ACCEPTED, GET_NEW)


def require_signature(parts: TokenParts, key: Ed25519PublicKey) -> None:
    """Refuse what this key has not signed; always by Ed25519, whatever the header says."""
    if not _ED25519.verify(parts.signed, key, parts.signature):
        raise not_accepted()


def require_claim_fields(fields: Mapping[str, Any]) -> None:
    """Refuse a missing claim and an additional one."""
    if fields.keys() != CLAIM_FIELDS:
        raise not_accepted()


def require_issuer(fields: Mapping[str, Any], issuer: str) -> None:
    """Refuse the tokens of other systems."""
    if fields["iss"] != issuer:
        raise not_accepted()


def require_audience_name(fields: Mapping[str, Any]) -> None:
    """Refuse an audience that is not one name."""
    if not _is(_AUDIENCE, fields["aud"]):
        raise not_accepted()


def require_subject(fields: Mapping[str, Any]) -> None:
    """Refuse a subject that no principal can have."""
    if not _is(_SUBJECT, fields["sub"]):
        raise not_accepted()


def require_identifiers(fields: Mapping[str, Any]) -> None:
    """Refuse a token or session id by which nothing could be revoked."""
    if not (is_identifier(fields["jti"]) and is_identifier(fields["sid"])):
        raise not_accepted()


def require_scope(fields: Mapping[str, Any]) -> None:
    """Refuse what is not a list of grants with one space between each two; empty means none."""
    scope = fields["scope"]
    if not isinstance(scope, str) or (scope and not all(_is(_GRANT, grant) for grant in scope.split(" "))):
        raise not_accepted()


def require_whole_times(fields: Mapping[str, Any]) -> None:
    """Refuse times that are not whole numbers; true and false are none."""
    if any(type(fields[name]) is not int for name in ("iat", "nbf", "exp")):
        raise not_accepted()


def require_expiry_after_issue(claims: Claims) -> None:
    """Refuse a token that had expired when it was issued."""
    if claims.expires_at_s <= claims.issued_at_s:
        raise not_accepted()


def require_short_life(claims: Claims) -> None:
    """Refuse a life of more than an hour."""
    if claims.expires_at_s - claims.issued_at_s > MAX_LIFETIME_S:
        raise not_accepted()


def require_expiry_after_start(claims: Claims) -> None:
    """Refuse a token that counts from a moment after its expiry; within the leeway it would count before both."""
    if claims.not_before_s > claims.expires_at_s:
        raise not_accepted()


def require_issued(claims: Claims, now_s: float, leeway_s: float) -> None:
    """Refuse a token from the future, further than clocks may differ."""
    if claims.issued_at_s > now_s + leeway_s:
        raise not_accepted()


def require_started(claims: Claims, now_s: float, leeway_s: float) -> None:
    """Refuse a token that does not count yet, further than clocks may differ."""
    if claims.not_before_s > now_s + leeway_s:
        raise not_accepted()


def require_unexpired(claims: Claims, now_s: float) -> None:
    """Refuse a token whose time is over, to the second."""
    if claims.expires_at_s <= now_s:
        raise TokenExpired("The access token has expired.", GET_NEW)


def require_audience(claims: Claims, audiences: frozenset[str]) -> None:
    """Refuse a token that was issued for somebody else."""
    if claims.audience not in audiences:
        raise not_accepted()


def require_unrevoked(revocation: Revocation | None) -> None:
    """Refuse a token that a revocation was found for."""
    if revocation is not None:
        raise TokenRevoked(
            "The access token was revoked.", "Log in again, or ask an administrator for a new credential."
        )


def _is(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None
