import jwt
import pytest

from tests.unit.auth.tokens import ALICE, KEYS, NOW_S, claims
from zejzl_ray.auth.claims import Claims
from zejzl_ray.auth.token_signing import sign_token
from zejzl_ray.errors import InvalidInput


def test_any_library_reads_the_token() -> None:
    token = sign_token(ALICE, KEYS["k1"])
    whole = jwt.decode_complete(
        token,
        KEYS["k1"].public_key(),
        algorithms=["EdDSA"],
        audience="zejzl",
        issuer="zejzl",
        options={"verify_exp": False},
    )
    assert whole["header"] == {"alg": "EdDSA", "typ": "at+jwt", "kid": "k1"}
    assert whole["payload"] == {
        "iss": "zejzl",
        "aud": "zejzl",
        "sub": "user:alice",
        "jti": "t1",
        "sid": "s1",
        "iat": NOW_S,
        "nbf": NOW_S,
        "exp": NOW_S + 900,
        "scope": "core_orchestrator:agents:read *:machines:*",
    }


@pytest.mark.parametrize(
    "wrong",
    [
        claims(subject="root"),
        claims(grants=("admin",)),
        claims(grants=("core_orchestrator:agents:read *:*:*",)),
        claims(session="s 1"),
        claims(expires_at_s=NOW_S + 3601),
        claims(expires_at_s=NOW_S),
        claims(issued_at_s=NOW_S + 0.5),
        claims(key_id="../k1"),
    ],
)
def test_nothing_is_signed_that_every_verifier_would_refuse(wrong: Claims) -> None:
    with pytest.raises(ValueError, match="claims"):
        sign_token(wrong, KEYS["k1"])


def test_too_many_grants_for_one_token_are_refused_with_what_to_do() -> None:
    many = claims(grants=tuple(f"core_orchestrator:resource_{n}:read" for n in range(200)))
    with pytest.raises(InvalidInput, match=r"8192 is the most\. Ask for fewer scopes"):
        sign_token(many, KEYS["k1"])
