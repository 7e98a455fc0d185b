"""Checking and folding of commits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zejzl_ray.errors import InvalidInput, PayloadTooLarge, SettingsInvalid
from zejzl_ray.store import Append, Delete, Op, Put, Trim
from zejzl_ray.store.operations import (
    MAX_EXPECT,
    KeyWrite,
    LogAppend,
    LogTrim,
    Prepared,
    check_namespace,
    encode_key,
    encode_prefix,
    prepare,
    version_conflict,
)


def fold(*ops: Op) -> Prepared:
    return prepare(ops, epoch=1, expect=None, commit_id="", now_s=100.0)


def test_single_puts_stay_plain() -> None:
    folded = fold(Put("a", b"1"), Put("b", b"2"))
    assert folded.plain == {b"a": b"1", b"b": b"2"}
    assert not folded.special
    assert not folded.deletes


def test_several_puts_on_a_key_are_counted() -> None:
    folded = fold(Put("a", b"1"), Put("a", b"2", 200.0), Put("a", b"3"))
    assert folded.special == {b"a": KeyWrite(b"3", None, 3, False)}
    assert not folded.plain


def test_a_delete_before_a_put_resets_the_version() -> None:
    folded = fold(Put("a", b"1"), Delete("a"), Put("a", b"2"), Put("a", b"3"))
    assert folded.special == {b"a": KeyWrite(b"3", None, 2, True)}
    assert not folded.deletes


def test_a_delete_after_puts_leaves_a_delete() -> None:
    folded = fold(Put("a", b"1"), Put("b", b"1", 200.0), Delete("a"), Delete("b"))
    assert list(folded.deletes) == [b"a", b"b"]
    assert not folded.plain
    assert not folded.special


def test_an_expiry_in_the_past_is_a_delete() -> None:
    assert list(fold(Put("a", b"1", 100.0)).deletes) == [b"a"]
    assert fold(Put("a", b"1", 100.5)).special == {b"a": KeyWrite(b"1", 100.5, 1, False)}


def test_log_operations_keep_their_order_and_join_where_they_touch() -> None:
    folded = fold(Append("l", b"1"), Append("l", b"2"), Append("m", b"3"), Trim("l", 1), Append("l", b"4"))
    assert folded.log_ops == [
        LogAppend(b"l", [b"1", b"2"]),
        LogAppend(b"m", [b"3"]),
        LogTrim(b"l", 1),
        LogAppend(b"l", [b"4"]),
    ]


def test_the_size_counts_keys_and_values() -> None:
    assert fold(Put("ab", b"123"), Append("l", b"45")).size_bytes == 7


def test_too_many_expectations_are_refused() -> None:
    expect = {str(number): 0 for number in range(MAX_EXPECT + 1)}
    with pytest.raises(PayloadTooLarge):
        prepare([], epoch=1, expect=expect, commit_id="", now_s=0)


@pytest.mark.parametrize("commit_id", ["x" * 1025, "\udcff"])
def test_a_commit_id_that_cannot_be_stored_is_refused(commit_id: str) -> None:
    with pytest.raises(InvalidInput, match="commit_id"):
        prepare([], epoch=1, expect=None, commit_id=commit_id, now_s=0)


@given(st.text(min_size=1, max_size=50))
def test_a_key_survives_encoding_or_is_refused(key: str) -> None:
    try:
        encoded = encode_key(key)
    except InvalidInput:
        assert any("\ud800" <= character <= "\udfff" for character in key)
    else:
        assert encoded.decode() == key


def test_an_empty_prefix_means_everything() -> None:
    assert encode_prefix("") == b""


@pytest.mark.parametrize("name", ["", "1st", "a/b", "a{b}", "a:b", "a" * 129, "../x", "a b"])
def test_a_namespace_must_be_safe_in_paths_and_keys(name: str) -> None:
    with pytest.raises(SettingsInvalid, match="cannot name a store"):
        check_namespace(name)


def test_a_conflict_names_key_and_versions() -> None:
    assert "'agent/x' has version 3, expected 2" in str(version_conflict("core", b"agent/x", 3, 2))
