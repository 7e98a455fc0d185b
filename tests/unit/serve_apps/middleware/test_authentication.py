import os
from pathlib import Path

import pytest

from serve_apps.middleware.authentication import BearerToken
from zejzl_ray.errors import SettingsInvalid, Unauthenticated

TOKEN = "s" * 40


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    path.chmod(0o600)
    return path


def test_a_token_from_a_private_file_is_accepted(token_file: Path) -> None:
    bearer = BearerToken.read(token_file)
    assert bearer.check(b"Bearer " + TOKEN.encode()) == TOKEN
    assert bearer.check(b"bearer  " + TOKEN.encode() + b" ") == TOKEN


@pytest.mark.parametrize(
    "header",
    [None, b"", b"Bearer", b"Bearer ", b"Bearer x", b"Basic " + TOKEN.encode(), TOKEN.encode(), b"\xff \xff"],
)
def test_anything_else_is_refused(header: bytes | None) -> None:
    with pytest.raises(Unauthenticated) as caught:
        BearerToken(TOKEN).check(header)
    assert TOKEN not in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_file_that_others_can_read_is_refused(token_file: Path, mode: int) -> None:
    token_file.chmod(mode)
    with pytest.raises(SettingsInvalid, match="can be read by others"):
        BearerToken.read(token_file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match=f"{tmp_path}/no cannot be read: No such file"):
        BearerToken.read(tmp_path / "no")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_somebody_else_is_refused(token_file: Path) -> None:
    os.chown(token_file, 12345, -1)
    with pytest.raises(SettingsInvalid, match="another user"):
        BearerToken.read(token_file)


@pytest.mark.parametrize("token", ["", "short", "has a blank " + "x" * 40, "\u00e9" * 40])
def test_a_weak_or_broken_token_is_refused(token: str) -> None:
    with pytest.raises(SettingsInvalid, match="32 or more ASCII characters"):
        BearerToken(token)


def test_the_token_is_not_shown() -> None:
    assert TOKEN not in repr(BearerToken(TOKEN))
