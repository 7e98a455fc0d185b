"""Tokens are made once, only their owner may read them, and nothing repeats them."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from zejzl_ray.cluster.secret_file import ensure_token, make_private_directory, read_token
from zejzl_ray.errors import ClusterError, Unauthenticated


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_token_is_made_once_and_closed_for_others(tmp_path: Path) -> None:
    path = tmp_path / "data" / "token"
    token = ensure_token(path)
    assert len(token.get_secret_value()) == 64
    assert ensure_token(path) == token
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)
    assert [one.name for one in path.parent.iterdir()] == ["token"]
    assert token.get_secret_value() not in repr(token)


def test_all_who_race_get_the_same_token(tmp_path: Path) -> None:
    path = tmp_path / "data" / "token"
    with ThreadPoolExecutor(8) as pool:
        tokens = {token.get_secret_value() for token in pool.map(lambda _: ensure_token(path), range(32))}
    assert len(tokens) == 1
    assert [one.name for one in path.parent.iterdir()] == ["token"]


def test_a_token_that_somebody_else_has_just_made_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "token"
    link = os.link

    def slower(source: str, target: Path) -> None:
        target.write_text("theirs")
        target.chmod(0o600)
        link(source, target)

    monkeypatch.setattr(os, "link", slower)
    assert ensure_token(path).get_secret_value() == "theirs"


def test_an_existing_directory_is_closed(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    make_private_directory(tmp_path)
    assert mode(tmp_path) == 0o700


def test_a_directory_that_everybody_shares_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    with pytest.raises(ClusterError, match="not yours alone"):
        make_private_directory(tmp_path)
    assert mode(tmp_path) == 0o777


def test_somebody_elses_directory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(ClusterError, match="ZEJZL_DATA_DIR"):
        make_private_directory(tmp_path)


def test_a_file_in_place_of_the_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(ClusterError, match="File exists"):
        ensure_token(tmp_path / "data" / "token")


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ClusterError, match="No space left"):
        ensure_token(tmp_path / "token")
    assert [one.name for one in tmp_path.iterdir()] == []


def test_a_token_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("hunter2")
    path.chmod(0o640)
    with pytest.raises(ClusterError, match="chmod 600") as caught:
        read_token(path)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b" \n", b"\xff\xfe"])
def test_a_file_that_holds_no_token_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(Unauthenticated, match="holds no token"):
        read_token(path)


def test_a_missing_token_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(Unauthenticated, match="zejzl up"):
        read_token(tmp_path / "token")
