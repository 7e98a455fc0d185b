import pickle

import pytest

from tests.unit.auth.tokens import ALICE, KEYS, NOW_S, claims, public, signed, verifier
from zejzl_ray.auth.key_set import KeySet
from zejzl_ray.auth.token_signing import sign_token
from zejzl_ray.auth.token_verifier import TokenVerifier, UnknownKey
from zejzl_ray.contracts.problems import problem_of
from zejzl_ray.errors import TokenExpired, Unauthenticated
from zejzl_ray.testing.clock import ManualClock


def test_a_token_says_what_was_signed() -> None:
    assert verifier(ManualClock()).verify(signed()) == ALICE


def test_a_token_without_grants_is_valid() -> None:
    assert verifier(ManualClock()).verify(signed(grants=())) == claims(grants=())


def test_a_token_of_the_longest_life_is_valid_to_its_last_second() -> None:
    clock = ManualClock()
    token = signed(expires_at_s=NOW_S + 3600)
    clock.advance(3599.999)
    assert verifier(clock).verify(token).expires_at_s == NOW_S + 3600
    clock.advance(0.001)
    with pytest.raises(
        TokenExpired, match=r"^The access token has expired\. Get a new one and call again\.$"
    ):
        verifier(clock).verify(token)


@pytest.mark.parametrize("field", ["issued_at_s", "not_before_s"])
def test_clocks_may_differ_by_the_leeway(field: str) -> None:
    assert verifier(ManualClock()).verify(signed(**{field: NOW_S + 5}))
    with pytest.raises(Unauthenticated, match="not accepted"):
        verifier(ManualClock()).verify(signed(**{field: NOW_S + 6}))


def test_issuer_and_leeway_can_be_chosen() -> None:
    clock = ManualClock()
    keys = KeySet(clock)
    keys.replace([public("k1")])
    other = TokenVerifier(keys, clock, issuer="elsewhere", leeway_s=0)
    assert other.verify(sign_token(ALICE, KEYS["k1"], issuer="elsewhere")) == ALICE
    with pytest.raises(Unauthenticated):
        other.verify(signed())
    with pytest.raises(Unauthenticated):
        other.verify(sign_token(claims(not_before_s=NOW_S + 1), KEYS["k1"], issuer="elsewhere"))


def test_an_unknown_key_is_named_to_the_process_and_not_to_the_caller() -> None:
    with pytest.raises(UnknownKey) as caught:
        verifier(ManualClock(), "k2").verify(signed())
    error = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(error, UnknownKey)
    assert error.kid == "k1"
    told = problem_of(error)
    assert (told.status, told.code) == (401, "unauthenticated")
    assert "k1" not in told.model_dump_json()


def test_a_token_of_another_key_is_told_nothing() -> None:
    token = sign_token(ALICE, KEYS["k2"])
    with pytest.raises(Unauthenticated, match="not accepted") as caught:
        verifier(ManualClock()).verify(token)
    assert type(caught.value) is Unauthenticated
