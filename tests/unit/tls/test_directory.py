from pathlib import Path

import pytest

from zejzl_ray.errors import ClusterError, Conflict, InvalidInput
from zejzl_ray.tls.credentials import load_credentials, own_machine
from zejzl_ray.tls.directory import TlsDirectory
from zejzl_ray.tls.files import read_certificate, read_key
from zejzl_ray.tls.listing import certificate_rows
from zejzl_ray.tls.names import CertificateNames, certificate_names

PC2 = certificate_names("pc2", (), ("192.168.1.11",))
_DAY_S = 86_400


def modes(directory: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in directory.iterdir()}


def certify(directory: TlsDirectory, other: TlsDirectory, now_s: float, *, is_new_key: bool = False) -> None:
    """What `zejzl tls issue --ssh` does."""
    request = other.request("pc2", is_new_key=is_new_key)
    certificate, authority = directory.sign(PC2, request, now_s)
    other.accept("pc2", certificate, authority)
    directory.keep("pc2", certificate)


def test_the_first_init_makes_everything_with_its_modes_and_the_next_ones_nothing(
    tmp_path: Path, names: CertificateNames, now_s: float
) -> None:
    directory = TlsDirectory(tmp_path / "tls")

    assert directory.init(names, now_s)
    before = {path.name: path.read_bytes() for path in directory.path.iterdir()}
    assert not directory.init(names, now_s + 5)

    assert modes(directory.path) == {
        "ca.pem": 0o644, "ca.key": 0o600, "mainpc.pem": 0o644, "mainpc.key": 0o600, "machine": 0o644,
    }  # fmt: skip
    assert {path.name: path.read_bytes() for path in directory.path.iterdir()} == before
    assert load_credentials(directory.path, "mainpc", now_s).days_left == 365


def test_an_interrupted_init_is_completed_by_the_next(
    directory: TlsDirectory, names: CertificateNames, now_s: float
) -> None:
    (directory.path / "mainpc.pem").unlink()
    assert directory.init(names, now_s)
    (directory.path / "ca.pem").unlink()  # the key is written first
    assert directory.init(names, now_s)

    assert load_credentials(directory.path, "mainpc", now_s).files


def test_an_authority_whose_key_is_elsewhere_is_not_made_anew_by_mistake(
    directory: TlsDirectory, names: CertificateNames, now_s: float
) -> None:
    (directory.path / "ca.key").unlink()
    before = read_certificate(directory.path / "ca.pem")

    with pytest.raises(ClusterError, match=r"another machine, or is lost.*--force"):
        directory.init(names, now_s)
    assert read_certificate(directory.path / "ca.pem") == before

    assert directory.init(names, now_s, is_forced=True)
    assert read_certificate(directory.path / "ca.pem") != before
    assert load_credentials(directory.path, "mainpc", now_s).files


def test_a_certificate_for_another_machine_can_be_carried_there_by_hand(
    directory: TlsDirectory, now_s: float
) -> None:
    path = directory.issue(PC2, now_s)

    assert path.name == "pc2.pem"
    assert load_credentials(directory.path, "pc2", now_s, address="192.168.1.11").files
    assert own_machine(directory.path) == "mainpc"


def test_a_certificate_is_replaced_only_by_force(directory: TlsDirectory, now_s: float) -> None:
    directory.issue(PC2, now_s)
    before = load_credentials(directory.path, "pc2", now_s).files.fingerprint

    with pytest.raises(Conflict, match=r"zejzl tls renew pc2.*--force"):
        directory.issue(PC2, now_s)
    assert load_credentials(directory.path, "pc2", now_s).files.fingerprint == before

    directory.issue(PC2, now_s, is_forced=True)
    assert load_credentials(directory.path, "pc2", now_s).files.fingerprint != before


def test_without_the_authority_nothing_is_issued(other_machine: TlsDirectory, now_s: float) -> None:
    with pytest.raises(ClusterError, match="zejzl tls init"):
        other_machine.issue(PC2, now_s)


def test_over_ssh_the_key_stays_on_its_machine(
    directory: TlsDirectory, other_machine: TlsDirectory, now_s: float
) -> None:
    certify(directory, other_machine, now_s)

    assert modes(other_machine.path) == {
        "ca.pem": 0o644,
        "pc2.pem": 0o644,
        "pc2.key": 0o600,
        "machine": 0o644,
    }
    assert not (directory.path / "pc2.key").exists()
    assert directory.names("pc2") == other_machine.names("pc2") == PC2
    assert own_machine(other_machine.path) == "pc2"
    assert load_credentials(other_machine.path, "pc2", now_s, address="192.168.1.11").files


def test_a_repeated_hand_over_keeps_the_key_and_a_new_one_waits_for_its_certificate(
    directory: TlsDirectory, other_machine: TlsDirectory, now_s: float
) -> None:
    certify(directory, other_machine, now_s)
    first = read_key(other_machine.path / "pc2.key").public_key()
    certify(directory, other_machine, now_s)
    assert read_key(other_machine.path / "pc2.key").public_key() == first

    other_machine.request("pc2", is_new_key=True)  # and then the connection broke
    assert load_credentials(other_machine.path, "pc2", now_s).files
    certify(directory, other_machine, now_s, is_new_key=True)

    assert read_key(other_machine.path / "pc2.key").public_key() != first
    assert load_credentials(other_machine.path, "pc2", now_s).files
    assert not list(other_machine.path.glob(".*"))


def test_what_does_not_fit_is_not_taken(
    directory: TlsDirectory,
    other_machine: TlsDirectory,
    names: CertificateNames,
    now_s: float,
    tmp_path: Path,
) -> None:
    request = other_machine.request("pc2")
    certificate, authority = directory.sign(PC2, request, now_s)
    mainpc = (directory.path / "mainpc.pem").read_bytes()
    another = TlsDirectory(tmp_path / "third")
    another.init(names, now_s)

    for wrong in ((mainpc, authority), (certificate, (another.path / "ca.pem").read_bytes())):
        with pytest.raises(ClusterError, match="not for the key of pc2"):
            other_machine.accept("pc2", *wrong)
    with pytest.raises(ClusterError, match="not a certificate"):
        other_machine.accept("pc2", b"-----", authority)
    assert not (other_machine.path / "pc2.pem").exists()
    assert not (other_machine.path / "ca.pem").exists()


def test_another_authority_is_trusted_only_by_force(
    directory: TlsDirectory, other_machine: TlsDirectory, names: CertificateNames, now_s: float
) -> None:
    certify(directory, other_machine, now_s)
    before = read_certificate(other_machine.path / "ca.pem")
    directory.init(names, now_s, is_forced=True)

    with pytest.raises(Conflict, match="another authority"):
        certify(directory, other_machine, now_s)
    assert read_certificate(other_machine.path / "ca.pem") == before

    signed = directory.sign(PC2, other_machine.request("pc2"), now_s)
    other_machine.accept("pc2", *signed, is_forced=True)
    assert read_certificate(other_machine.path / "ca.pem") != before
    assert load_credentials(other_machine.path, "pc2", now_s).files


def test_a_request_is_checked_before_anything_is_signed(directory: TlsDirectory, now_s: float) -> None:
    with pytest.raises(InvalidInput):
        directory.sign(PC2, b"nothing", now_s)


@pytest.mark.parametrize("is_new_key", [False, True])
def test_a_renewed_certificate_has_the_same_names_and_a_year_more(
    directory: TlsDirectory, names: CertificateNames, now_s: float, is_new_key: bool
) -> None:
    key = read_key(directory.path / "mainpc.key").public_key()
    later_s = now_s + 340 * _DAY_S

    directory.renew("mainpc", later_s, is_new_key=is_new_key)

    assert directory.names("mainpc") == names
    assert load_credentials(directory.path, "mainpc", later_s).days_left == 365
    assert (read_key(directory.path / "mainpc.key").public_key() == key) is not is_new_key


def test_a_machine_that_keeps_its_key_is_renewed_over_ssh(
    directory: TlsDirectory, other_machine: TlsDirectory, now_s: float
) -> None:
    certify(directory, other_machine, now_s)

    with pytest.raises(ClusterError, match="--ssh"):
        directory.renew("pc2", now_s)
    with pytest.raises(ClusterError, match="zejzl tls issue pc3"):
        directory.renew("pc3", now_s)


def test_the_list_shows_what_ends_and_whose_key_is_here(
    directory: TlsDirectory, other_machine: TlsDirectory, now_s: float
) -> None:
    certify(directory, other_machine, now_s)
    later_s = now_s + 340 * _DAY_S
    directory.renew("mainpc", later_s)

    rows = {row.name: row for row in certificate_rows(directory.path, later_s)}

    assert list(rows) == ["ca", "mainpc", "pc2"]
    assert {name: row.has_key for name, row in rows.items()} == {"ca": True, "mainpc": True, "pc2": False}
    assert {name: row.is_ending_soon for name, row in rows.items()} == {
        "ca": False, "mainpc": False, "pc2": True,
    }  # fmt: skip
    assert all(row.is_trusted for row in rows.values())
    assert rows["pc2"].names == ("pc2", "localhost", "192.168.1.11", "127.0.0.1", "::1")
    assert rows["pc2"].days_left == 25


def test_a_directory_without_an_authority_lists_nothing(other_machine: TlsDirectory, now_s: float) -> None:
    assert certificate_rows(other_machine.path, now_s) == ()
