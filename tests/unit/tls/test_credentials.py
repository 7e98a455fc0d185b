import shutil

import pytest

from zejzl_ray.errors import ClusterError
from zejzl_ray.tls.authority import new_key
from zejzl_ray.tls.credentials import (
    certificate_path,
    days_left,
    key_path,
    load_credentials,
    own_machine,
)
from zejzl_ray.tls.directory import TlsDirectory
from zejzl_ray.tls.files import key_text, read_certificate, write_file
from zejzl_ray.tls.names import CertificateNames

_DAY_S = 86_400
_ADDRESS = "192.168.1.10"


def test_good_files_say_where_they_lie_and_how_long_they_last(directory: TlsDirectory, now_s: float) -> None:
    found = load_credentials(directory.path, "mainpc", now_s, address=_ADDRESS)

    assert found.files.certificate == directory.path / "mainpc.pem"
    assert found.files.key == directory.path / "mainpc.key"
    assert found.files.authority == directory.path / "ca.pem"
    assert found.days_left == 365
    assert not found.is_ending_soon
    assert load_credentials(directory.path, "mainpc", now_s + 336 * _DAY_S).is_ending_soon


def test_the_fingerprint_changes_with_the_certificate(directory: TlsDirectory, now_s: float) -> None:
    before = load_credentials(directory.path, "mainpc", now_s).files
    again = load_credentials(directory.path, "mainpc", now_s + 1).files
    directory.renew("mainpc", now_s)

    assert before == again
    assert load_credentials(directory.path, "mainpc", now_s).files.fingerprint != before.fingerprint


def test_a_machine_without_a_certificate_is_told_the_command(directory: TlsDirectory, now_s: float) -> None:
    with pytest.raises(
        ClusterError, match=r"no certificate of pc2.*zejzl tls issue pc2 --address 10\.0\.0\.2"
    ):
        load_credentials(directory.path, "pc2", now_s, address="10.0.0.2")


@pytest.mark.parametrize("missing", ["ca.pem", "mainpc.key"])
def test_half_of_the_files_is_not_enough(directory: TlsDirectory, now_s: float, missing: str) -> None:
    (directory.path / missing).unlink()

    with pytest.raises(ClusterError, match=missing):
        load_credentials(directory.path, "mainpc", now_s)


def test_a_key_of_another_certificate_is_found_out(directory: TlsDirectory, now_s: float) -> None:
    write_file(key_path(directory.path, "mainpc"), key_text(new_key()), 0o600)

    with pytest.raises(ClusterError, match=r"does not belong to the key.*--force"):
        load_credentials(directory.path, "mainpc", now_s)


def test_a_certificate_of_another_authority_is_found_out(
    directory: TlsDirectory, other_machine: TlsDirectory, names: CertificateNames, now_s: float
) -> None:
    other_machine.init(names, now_s)
    shutil.copy(other_machine.path / "ca.pem", directory.path / "ca.pem")

    with pytest.raises(ClusterError, match="not of the authority"):
        load_credentials(directory.path, "mainpc", now_s)


@pytest.mark.parametrize(
    ("days", "message"),
    [(365, "mainpc.pem has expired on"), (3650, "has expired"), (-1, "not valid before .* clock")],
)
def test_time_is_checked(directory: TlsDirectory, now_s: float, days: int, message: str) -> None:
    with pytest.raises(ClusterError, match=message):
        load_credentials(directory.path, "mainpc", now_s + days * _DAY_S)


def test_an_authority_that_ends_first_counts(directory: TlsDirectory, now_s: float) -> None:
    late_s = now_s + 3630 * _DAY_S
    directory.renew("mainpc", late_s)

    assert load_credentials(directory.path, "mainpc", late_s).days_left == 20


def test_the_address_must_be_one_that_the_certificate_names(directory: TlsDirectory, now_s: float) -> None:
    with pytest.raises(ClusterError, match=r"does not name 192\.168\.1\.99"):
        load_credentials(directory.path, "mainpc", now_s, address="192.168.1.99")


def test_the_machine_knows_its_own_name(directory: TlsDirectory, other_machine: TlsDirectory) -> None:
    assert own_machine(directory.path) == "mainpc"
    assert own_machine(other_machine.path) is None
    other_machine.path.mkdir(parents=True)
    (other_machine.path / "machine").write_text("")
    assert own_machine(other_machine.path) is None
    (other_machine.path / "machine").write_bytes(b"\xff")
    assert own_machine(other_machine.path) is None


def test_days_are_counted_below_zero_too(directory: TlsDirectory, now_s: float) -> None:
    certificate = read_certificate(certificate_path(directory.path, "mainpc"))

    assert days_left(certificate, now_s + 366 * _DAY_S) == -1
