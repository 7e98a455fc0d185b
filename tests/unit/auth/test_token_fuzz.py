"""Whatever comes in the place of a token: refused with ``Unauthenticated``, never another exception."""

import base64
import json
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from tests.unit.auth.tokens import KEYS, signed, verifier
from zejzl_ray.auth.token_format import parse_token
from zejzl_ray.errors import Unauthenticated
from zejzl_ray.testing.clock import ManualClock

TOKEN = signed()
VERIFIER = verifier(ManualClock())
ALPHABET = "ABab01-_.=+/ \n\0é"

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["zejzl", "k1"]),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


def refused(token: str) -> None:
    with pytest.raises(Unauthenticated):
        VERIFIER.verify(token)


def part(value: object) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def handmade(header: object, payload: object) -> str:
    text = f"{part(header)}.{part(payload)}"
    return f"{text}.{part(KEYS['k1'].sign(text.encode()))}"


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(st.integers(0, len(TOKEN)), st.integers(0, 3), st.text(ALPHABET, max_size=3)),
        min_size=1,
        max_size=4,
    )
)
@example([(len(TOKEN), 0, "=")])
@example([(0, len(TOKEN), "")])
def test_no_edit_of_a_valid_token_passes(edits: list[tuple[int, int, str]]) -> None:
    token = TOKEN
    for place, removed, put in edits:
        token = token[:place] + put + token[place + removed :]
    assume(token != TOKEN)
    refused(token)


@settings(max_examples=300)
@given(st.integers(0, len(TOKEN) - 1), st.characters())
def test_no_other_character_passes(place: int, character: str) -> None:
    token = TOKEN[:place] + character + TOKEN[place + 1 :]
    assume(token != TOKEN)
    refused(token)


@given(st.integers(0, len(TOKEN) - 1))
def test_no_part_of_a_token_passes(length: int) -> None:
    refused(TOKEN[:length])
    refused(TOKEN[-length or len(TOKEN) :])


@given(st.text(max_size=200))
def test_no_text_passes(text: str) -> None:
    refused(text)
    refused(f"{text}.{text}.{text}")


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_no_bytes_behind_a_right_signature_pass(header: bytes, payload: bytes) -> None:
    refused(handmade(header, payload))
    refused(handmade({"alg": "EdDSA", "typ": "at+jwt", "kid": "k1"}, payload))


@settings(max_examples=300)
@given(
    st.sampled_from(["iss", "aud", "sub", "jti", "sid", "iat", "nbf", "exp", "scope", "x"]),
    values,
)
@example("exp", 10**4000)
@example("nbf", -(10**4000))
@example("sub", "\ud800")
def test_a_claim_of_any_value_passes_or_is_refused(name: str, value: Any) -> None:
    payload = dict(parse_token(TOKEN).claims)
    payload[name] = value
    try:
        claims = VERIFIER.verify(handmade({"alg": "EdDSA", "typ": "at+jwt", "kid": "k1"}, payload))
    except Unauthenticated:
        return
    assert isinstance(value, str | int)
    assert claims.subject.startswith("user:")


@given(st.sampled_from(["alg", "typ", "kid", "x"]), values)
def test_a_header_field_of_any_value_is_refused(name: str, value: Any) -> None:
    header = {"alg": "EdDSA", "typ": "at+jwt", "kid": "k1"}
    assume(header.get(name) != value)
    refused(handmade({**header, name: value}, dict(parse_token(TOKEN).claims)))
