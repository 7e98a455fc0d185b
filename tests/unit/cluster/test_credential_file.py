"""The files of a cluster's identities are made once, for their owner alone, and replaced in one step."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from zejzl_ray.auth.credential_text import parse_text
from zejzl_ray.cluster import credential_file
from zejzl_ray.cluster.credential_file import (
    append_master_key,
    drop_old_master_keys,
    ensure_credential_file,
    ensure_master_key,
    renew_credential_file,
)
from zejzl_ray.cluster.private_file import write_private_file
from zejzl_ray.errors import ClusterError
from zejzl_ray.security.at_rest import MasterKeys

OLD_TOKEN = "ab" * 32


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "file"


def write(path: Path, text: str, mode: int = 0o600) -> None:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def only_file(path: Path) -> bool:
    return [one.name for one in path.parent.iterdir()] == [path.name]


def test_a_credential_is_made_once_and_closed_for_others(path: Path) -> None:
    made = renew_credential_file(path)
    assert not made.is_replaced
    assert parse_text(made.text) is not None
    assert renew_credential_file(path) == made
    assert ensure_credential_file(path) == made.text
    assert (mode(path), mode(path.parent), only_file(path)) == (0o600, 0o700, True)
    assert path.read_text() == f"{made.text.get_secret_value()}\n"
    assert made.text.get_secret_value() not in repr(made)


@pytest.mark.parametrize("before", [OLD_TOKEN, "", "zk_0_0\n", "\u00e9"])
def test_a_file_of_the_time_before_is_replaced_and_the_answer_says_so(path: Path, before: str) -> None:
    write(path, before)
    made = renew_credential_file(path)
    assert made.is_replaced
    assert parse_text(made.text) is not None
    assert (mode(path), only_file(path)) == (0o600, True)
    assert not renew_credential_file(path).is_replaced


@pytest.mark.parametrize("ensure", [ensure_credential_file, ensure_master_key])
def test_all_who_race_get_the_same(path: Path, ensure: object) -> None:
    assert callable(ensure)
    with ThreadPoolExecutor(8) as pool:
        texts = {made.get_secret_value() for made in pool.map(lambda _: ensure(path), range(32))}
    assert len(texts) == 1
    assert only_file(path)


def test_a_credential_that_somebody_replaces_by_nonsense_at_that_moment_is_no_credential(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credential_file, "make_private_file", lambda path, text: write(path, "nonsense"))
    with pytest.raises(ClusterError, match="was changed while"):
        renew_credential_file(path)


@pytest.mark.parametrize("ensure", [ensure_credential_file, ensure_master_key, append_master_key])
def test_a_file_that_others_may_read_is_refused_and_left_as_it_is(path: Path, ensure: object) -> None:
    write(path, OLD_TOKEN, 0o640)
    assert callable(ensure)
    with pytest.raises(ClusterError, match="chmod 600") as caught:
        ensure(path)
    assert path.read_text() == OLD_TOKEN
    assert OLD_TOKEN not in str(caught.value)


def test_a_folder_in_place_of_the_file_is_named(path: Path) -> None:
    path.mkdir(parents=True, mode=0o700)
    for ensure in (ensure_credential_file, ensure_master_key):
        with pytest.raises(ClusterError, match="Cannot read the file"):
            ensure(path)
    with pytest.raises(ClusterError, match="Cannot write the file"):
        write_private_file(path, "x")
    assert only_file(path)


def test_a_full_disk_leaves_the_file_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    write(path, OLD_TOKEN)
    monkeypatch.setattr(os, "fsync", full)
    for change in (ensure_credential_file, append_master_key):
        with pytest.raises(ClusterError, match="No space left"):
            change(path)
    assert (path.read_text(), only_file(path)) == (OLD_TOKEN, True)
    path.unlink()
    with pytest.raises(ClusterError, match="No space left"):
        ensure_master_key(path)
    assert list(path.parent.iterdir()) == []


# --- master keys --------------------------------------------------------------------------------------------


def test_a_master_key_is_made_once_and_is_one(path: Path) -> None:
    text = ensure_master_key(path).get_secret_value()
    assert ensure_master_key(path).get_secret_value() == text
    assert (len(MasterKeys.parse(text)), len(text), mode(path)) == (1, 64, 0o600)
    assert len(MasterKeys.read(path)) == 1


def test_a_new_key_goes_before_the_others_and_the_old_ones_can_be_dropped(path: Path) -> None:
    first = ensure_master_key(path).get_secret_value()
    both = append_master_key(path).get_secret_value()
    newest, old = both.split("\n")
    assert old == first != newest
    assert ensure_master_key(path).get_secret_value() == both
    assert (mode(path), only_file(path)) == (0o600, True)
    sealed = MasterKeys.parse(first).encrypt("place", b"value")
    assert MasterKeys.read(path).decrypt("place", sealed) == b"value"
    assert drop_old_master_keys(path).get_secret_value() == newest == path.read_text().strip()


def test_a_file_holds_as_many_keys_as_are_read_and_no_more(path: Path) -> None:
    ensure_master_key(path)
    for _ in range(credential_file.MAX_MASTER_KEYS - 1):
        append_master_key(path)
    assert len(MasterKeys.read(path)) == credential_file.MAX_MASTER_KEYS
    with pytest.raises(ClusterError, match="16 keys already"):
        append_master_key(path)


@pytest.mark.parametrize(
    ("text", "what"),
    [("", "no master key"), ("\n \n", "no master key"), (OLD_TOKEN + "\nxy", "Line 2"), (OLD_TOKEN[:-1], "Line 1"),
     ("\n" + OLD_TOKEN + "0", "Line 2")],
)  # fmt: skip
def test_a_file_that_holds_no_keys_is_never_replaced_nor_quoted(path: Path, text: str, what: str) -> None:
    write(path, text)
    for change in (ensure_master_key, append_master_key, drop_old_master_keys):
        with pytest.raises(ClusterError, match=what) as caught:
            change(path)
        assert OLD_TOKEN[:32] not in str(caught.value)
    assert path.read_text() == text


def test_a_missing_file_gets_no_second_key(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    with pytest.raises(ClusterError, match="holds no master key"):
        append_master_key(path)
    assert list(path.parent.iterdir()) == []
