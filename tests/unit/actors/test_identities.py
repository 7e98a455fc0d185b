"""Who everybody of a cluster is: made once, kept, closed for others."""

import stat
from pathlib import Path

import pytest

from actors.identities import INGRESS_SUBJECT, ROOT_SUBJECT, ensure_identities
from zejzl_ray.auth.credential_text import parse_text
from zejzl_ray.errors import ClusterError
from zejzl_ray.security.service_credentials import subject_of


def test_a_new_data_directory_gets_everything_once(tmp_path: Path) -> None:
    first = ensure_identities(tmp_path / "data")
    again = ensure_identities(tmp_path / "data")
    assert parse_text(first.administrator) is not None
    assert again.administrator.get_secret_value() == first.administrator.get_secret_value()
    for subject in (ROOT_SUBJECT, INGRESS_SUBJECT, "service:error_bus", "machine:pc2"):
        text = first.credential_of(subject).get_secret_value()
        assert again.credential_of(subject).get_secret_value() == text
        assert subject_of(again.keys, text) == subject
    ingress = first.ingress_file.read_text(encoding="utf-8").strip()
    assert subject_of(first.keys, ingress) == INGRESS_SUBJECT
    files = [path for path in (tmp_path / "data").iterdir() if path.is_file()]
    assert first.administrator_file in files
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_another_cluster_has_other_identities(tmp_path: Path) -> None:
    one, other = ensure_identities(tmp_path / "one"), ensure_identities(tmp_path / "other")
    assert subject_of(other.keys, one.credential_of("service:error_bus").get_secret_value()) is None
    assert one.administrator.get_secret_value() != other.administrator.get_secret_value()


def test_a_file_that_others_may_read_stops_the_start(tmp_path: Path) -> None:
    identities = ensure_identities(tmp_path)
    identities.administrator_file.chmod(0o644)
    with pytest.raises(ClusterError, match="chmod 600"):
        ensure_identities(tmp_path)


def test_no_secret_is_shown(tmp_path: Path) -> None:
    identities = ensure_identities(tmp_path)
    shown = repr(identities)
    assert identities.administrator.get_secret_value() not in shown
    for line in (tmp_path / "security_key").read_text(encoding="utf-8").split():
        assert line not in shown


def test_a_token_of_the_time_before_is_replaced_and_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("ab" * 32)
    (tmp_path / "token").chmod(0o600)
    assert ensure_identities(tmp_path).is_administrator_renewed
    assert not ensure_identities(tmp_path).is_administrator_renewed
