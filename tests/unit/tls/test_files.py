from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from zejzl_ray.errors import ClusterError
from zejzl_ray.tls.authority import new_key
from zejzl_ray.tls.files import exclusive_directory, key_text, read_certificate, read_key, write_file


def test_a_file_is_replaced_whole_with_its_mode_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a.key"
    write_file(path, b"old", 0o600)
    write_file(path, b"new", 0o600)

    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="Cannot write"):
        write_file(tmp_path / "missing" / "a", b"", 0o600)
    (tmp_path / "full").mkdir()
    with pytest.raises(ClusterError, match="Cannot write"):
        write_file(tmp_path / "full", b"", 0o600)
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.key"
    write_file(path, key_text(new_key()), 0o640)

    with pytest.raises(ClusterError, match="chmod 600"):
        read_key(path)


def test_what_is_no_key_or_certificate_is_named_without_its_content(tmp_path: Path) -> None:
    path = tmp_path / "a"
    rsa_key = rsa.generate_private_key(65537, 2048)
    for content, message in (
        (b"secret text", "no private key that can be read"),
        (rsa_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), "of another kind"),
        (b"x" * 70_000, "longer than"),
    ):
        write_file(path, content, 0o600)
        with pytest.raises(ClusterError, match=message) as caught:
            read_key(path)
        assert "secret" not in str(caught.value)
    with pytest.raises(ClusterError, match="longer than"):
        read_certificate(path)
    write_file(path, b"text", 0o600)
    with pytest.raises(ClusterError, match="holds no certificate"):
        read_certificate(path)
    with pytest.raises(ClusterError, match="No certificate at"):
        read_certificate(tmp_path / "missing")


def test_two_writers_keep_out_of_each_others_way(tmp_path: Path) -> None:
    path = tmp_path / "tls"
    with exclusive_directory(path):
        with pytest.raises(ClusterError, match="Another `zejzl tls`"):
            with exclusive_directory(path):
                raise AssertionError
    with exclusive_directory(path):
        assert path.stat().st_mode & 0o777 == 0o700


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(ClusterError, match="Cannot use the directory"):
        with exclusive_directory(tmp_path / "file" / "tls"):
            raise AssertionError
