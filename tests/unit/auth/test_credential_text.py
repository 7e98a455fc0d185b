"""Credentials have one form; their ids follow from their secrets; nothing prints them."""

import hashlib

import pytest
from pydantic import SecretStr

from zejzl_ray.auth.credential_text import (
    code_of,
    credential_id_of,
    digest_of,
    format_own,
    format_text,
    is_same,
    login_refused,
    new_credential,
    new_credential_id,
    new_secret_hex,
    own_id,
    parse_text,
    require_text,
    secret_digest,
)
from zejzl_ray.errors import InvalidInput, LoginRefused

SECRET = "ab" * 32
ID = "0123456789abcdef"
TEXT = f"zk_{ID}_{SECRET}"


def test_a_text_is_taken_apart_and_put_together() -> None:
    parts = require_text(TEXT)
    assert (parts.credential_id, parts.secret.get_secret_value()) == (ID, SECRET)
    assert parts.reveal().get_secret_value() == TEXT
    assert parse_text(SecretStr(TEXT)) == parts
    assert parts.digest == digest_of(TEXT) == hashlib.sha256(SECRET.encode()).hexdigest()
    assert credential_id_of(SecretStr(TEXT)) == ID


def test_two_new_credentials_differ_and_know_their_ids() -> None:
    first, second = new_credential(), new_credential()
    assert first != second
    assert credential_id_of(first) == own_id(digest_of(first)) == digest_of(first)[:16]
    assert code_of(digest_of(first)).replace("-", "") == credential_id_of(first)[:8]
    assert (
        len({new_secret_hex() for _ in range(100)}) == len({new_credential_id() for _ in range(100)}) == 100
    )


def test_the_same_secret_gives_the_same_credential() -> None:
    text = format_own(SecretStr(SECRET))
    assert text.get_secret_value() == f"zk_{secret_digest(SecretStr(SECRET))[:16]}_{SECRET}"


@pytest.mark.parametrize(
    "wrong",
    [
        "", "zk", TEXT[:-1], TEXT + "0", TEXT + "\n", " " + TEXT, TEXT.upper(), TEXT.replace("ab", "xy", 1),
        TEXT.replace("zk_", "zr_"), "\u0660" * len(TEXT), f"zk_{ID}_{SECRET}_{SECRET}", "zk_" + "\ud800" * 81,
    ],
)  # fmt: skip
def test_any_other_form_is_no_credential_and_is_not_quoted(wrong: str) -> None:
    assert parse_text(wrong) is None
    with pytest.raises(InvalidInput) as caught:
        digest_of(wrong)
    assert SECRET[:-1] not in f"{caught.value}{caught.value!r}"


def test_wrong_parts_are_not_put_together_nor_quoted() -> None:
    for credential_id, secret in ((ID[:-1], SECRET), (ID, SECRET[:-1]), (ID, SECRET + "\n")):
        with pytest.raises(ValueError, match="hexadecimal") as caught:
            format_text(credential_id, SecretStr(secret))
        assert SECRET[:-1] not in str(caught.value)


def test_nothing_prints_the_secret() -> None:
    parts = require_text(TEXT)
    assert SECRET not in f"{parts}{parts!r}{new_credential()!r}{format_text(ID, parts.secret)}"


def test_equal_texts_are_the_same_and_others_are_not() -> None:
    assert is_same(SECRET, SECRET)
    assert not is_same(SECRET, SECRET[:-1])
    assert not is_same(SECRET, "\u00e9")


def test_every_refusal_has_the_same_words() -> None:
    assert isinstance(login_refused(), LoginRefused)
    assert str(login_refused()) == "The name, password or credential is not right. Check it and try again."
