"""What is signed is unambiguous, and every part of it counts."""

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from zejzl_ray.auth.credential_text import login_refused
from zejzl_ray.auth.signed_requests import (
    SKEW_S,
    body_digest_of,
    canonical_text,
    is_signed,
    is_timely,
    read_header,
    request_id_of,
    sign,
    sign_request,
    write_header,
)
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.tokens import SignatureGrant
from zejzl_ray.errors import InvalidInput, LoginRefused

SECRET = SecretStr("ab" * 32)
ID = "0123456789abcdef"
NONCE = "n" * 16
AT_S = 1_700_000_000
FIELDS = ("POST", "/v1/agents?x=1", body_digest_of(b"{}"), AT_S, NONCE)


def grant(body: bytes = b"{}", **fields: str) -> SignatureGrant:
    target = fields.get("target", "/v1/agents?x=1")
    return sign_request(ID, SECRET, "POST", target, body, at_s=AT_S, nonce=fields.get("nonce", NONCE))


def test_the_signature_is_hmac_sha256_of_six_lines() -> None:
    text = (
        f"zejzl-signed-request/1\nPOST\n/v1/agents?x=1\n{hashlib.sha256(b'{}').hexdigest()}\n{AT_S}\n{NONCE}"
    )
    assert canonical_text(*FIELDS) == text
    assert sign(SECRET, *FIELDS) == hmac.new(b"\xab" * 32, text.encode(), "sha256").hexdigest()


def test_a_signed_request_is_found_right_and_with_another_secret_wrong() -> None:
    assert is_signed(SECRET, grant())
    assert not is_signed(SecretStr("cd" * 32), grant())


@pytest.mark.parametrize(
    "change",
    [
        {"method": "PUT"}, {"target": "/v1/agents?x=2"}, {"target": "no path"}, {"body_digest": "0" * 64},
        {"at_s": AT_S + 1}, {"at_s": -1}, {"nonce": "m" * 16}, {"nonce": f"{NONCE}\n"}, {"signature": "0" * 64},
    ],
)  # fmt: skip
def test_every_change_of_a_field_breaks_it(change: dict[str, object]) -> None:
    assert not is_signed(SECRET, grant().model_copy(update=change))


_fields = st.tuples(
    st.sampled_from(["GET", "POST", "DELETE"]),
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=20).map(lambda text: f"/{text}"),
    st.binary(max_size=4).map(body_digest_of),
    st.integers(0, 10**11),
    st.text(st.sampled_from("Aa0_-"), min_size=16, max_size=20),
)


@given(_fields, _fields)
def test_two_different_requests_never_have_the_same_text(
    one: tuple[str, str, str, int, str], other: tuple[str, str, str, int, str]
) -> None:
    assert (canonical_text(*one) == canonical_text(*other)) == (one == other)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (0, "post"), (0, "POST\n"), (0, "A" * 8), (1, "agents"), (1, "/a b"), (1, "/a\nGET"), (1, "/\u00e9"),
        (1, "/" + "x" * 8192), (2, "0" * 63), (2, "A" * 64), (2, "0" * 64 + "\n"), (3, -1), (4, "n" * 15),
        (4, "n" * 65), (4, "n" * 15 + "\n"), (4, "n" * 15 + "."),
    ],
)  # fmt: skip
def test_a_field_of_another_form_is_not_signed(place: int, value: str | int) -> None:
    fields: list[object] = list(FIELDS)
    fields[place] = value
    with pytest.raises(InvalidInput, match="signed request"):
        canonical_text(*fields)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize("secret", ["", "ab", "xy" * 32, "ab" * 33, "\ud800"])
def test_a_secret_of_another_form_is_refused_and_not_quoted(secret: str) -> None:
    with pytest.raises(InvalidInput, match="64 hexadecimal") as caught:
        sign(SecretStr(secret), *FIELDS)
    assert "xy" not in str(caught.value)


def test_a_time_counts_within_the_skew_both_ways() -> None:
    assert [is_timely(AT_S, AT_S + off_s) for off_s in (-SKEW_S - 0.1, -SKEW_S, 0, SKEW_S, SKEW_S + 0.1)] == [
        False, True, True, True, False,
    ]  # fmt: skip


def test_a_nonce_is_made_when_none_is_given() -> None:
    first, second = (sign_request(ID, SECRET, "GET", "/", at_s=AT_S) for _ in range(2))
    assert first.nonce != second.nonce
    assert is_signed(SECRET, first)
    assert first.body_digest == hashlib.sha256(b"").hexdigest()


def test_the_request_id_follows_from_the_proof_and_is_a_request_id() -> None:
    made = request_id_of(grant(nonce="_" * 64))
    assert made == f"sig-{ID}-{'_' * 64}"
    assert CallContext(request_id=made).request_id == made


def test_a_header_gives_back_what_was_written() -> None:
    made = grant()
    assert read_header(write_header(made), made.method, made.target, b"{}") == made
    assert SECRET.get_secret_value() not in f"{made!r}{write_header(made)}"


HEADER = write_header(grant())


@pytest.mark.parametrize(
    "header",
    [
        "", "Bearer x", HEADER + " ", HEADER + "\n", HEADER.replace("at=", "at=0"), HEADER.replace("at=", "at=-"),
        HEADER.replace("at=17", "at=\u0661\u0667"), HEADER.replace(ID, ID[1:]), HEADER.replace("nonce", "Nonce"),
        HEADER + ", credential=" + ID, HEADER.replace(NONCE, "n" * 600),
    ],
)  # fmt: skip
def test_a_header_of_another_form_is_refused_with_the_one_text(header: str) -> None:
    with pytest.raises(LoginRefused) as caught:
        read_header(header, "POST", "/v1/agents?x=1", b"{}")
    assert str(caught.value) == str(login_refused())


@pytest.mark.parametrize(("method", "target"), [("post", "/"), ("POST", ""), ("POST", "/" * 9000)])
def test_a_request_of_another_form_is_refused_with_the_one_text(method: str, target: str) -> None:
    with pytest.raises(LoginRefused):
        read_header(HEADER, method, target, b"{}")


def test_a_target_that_could_hide_a_line_never_leaves_the_signer() -> None:
    with pytest.raises((InvalidInput, ValidationError)):
        grant(target="/a\nb")
