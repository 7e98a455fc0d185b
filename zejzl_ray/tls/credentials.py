"""The certificate with which a machine shows who it is, checked before anybody else has to find a fault in it."""

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from zejzl_ray.contracts.base import Contract
from zejzl_ray.errors import ClusterError
from zejzl_ray.tls.authority import is_issued_by, names_of
from zejzl_ray.tls.files import read_certificate, read_key
from zejzl_ray.tls.names import check_machine

DIRECTORY: Final = "tls"
AUTHORITY_CERTIFICATE: Final = "ca.pem"
AUTHORITY_KEY: Final = "ca.key"
OWN_NAME: Final = "machine"
SOON_DAYS: Final = 30.0
_DAY_S: Final = 86_400.0


class TlsFiles(Contract):
    """Where the certificate, the key and the authority of one machine lie.

    Attributes:
        certificate: the machine's certificate, PEM.
        key: its private key, PEM, mode 0600.
        authority: certificate of the authority that all machines trust.
        fingerprint: of the certificate, 16 hex characters; changes when it is renewed.
    """

    certificate: Path
    key: Path
    authority: Path
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Credentials:
    """Files that have been checked, and for how long they will do.

    Attributes:
        files: where they lie.
        days_left: until the first of certificate and authority expires.
    """

    files: TlsFiles
    days_left: float

    @property
    def is_ending_soon(self) -> bool:
        """Whether they should be renewed within 30 days."""
        return self.days_left < SOON_DAYS


def tls_directory(data_dir: Path) -> Path:
    """Return where the certificates of a data directory lie, whether it exists or not."""
    return data_dir / DIRECTORY


def certificate_path(directory: Path, machine: str) -> Path:
    """Return where the certificate of a machine lies, whether it exists or not."""
    return directory / f"{check_machine(machine)}.pem"


def key_path(directory: Path, machine: str) -> Path:
    """Return where the private key of a machine lies, whether it exists or not."""
    return directory / f"{check_machine(machine)}.key"


def own_machine(directory: Path) -> str | None:
    """Return the name under which this machine has its certificate; None when it has none."""
    try:
        name = (directory / OWN_NAME).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return check_machine(name) if name else None


def days_left(certificate: x509.Certificate, now_s: float) -> float:
    """Return the days until a certificate expires; below 0 when it has."""
    return (certificate.not_valid_after_utc.timestamp() - now_s) / _DAY_S


def fingerprint(certificate: x509.Certificate) -> str:
    """Return the first 16 hex characters of the SHA-256 of a certificate."""
    return certificate.fingerprint(hashes.SHA256()).hex()[:16]


def load_credentials(directory: Path, machine: str, now_s: float, *, address: str = "") -> Credentials:
    """Return the certificate of a machine after every check that its peers will make.

    Args:
        directory: ``tls`` of the data directory.
        machine: its name.
        now_s: wall time.
        address: IP address at which others reach it; must stand in the certificate. Empty: not looked at.

    Raises:
        ClusterError: something is missing, does not fit together, is not valid now, or may be read by
            others; says what, and the command that mends it.
    """
    place = f" --address {address}" if address else ""
    remedy = f"Run `zejzl tls issue {machine}{place} --ssh USER@HOST` where `zejzl tls init` was run."
    path = certificate_path(directory, machine)
    if not path.exists():
        raise ClusterError(f"There is no certificate of {machine} in {directory}.", remedy)
    authority = read_certificate(directory / AUTHORITY_CERTIFICATE, remedy)
    certificate = read_certificate(path, remedy)
    key = read_key(key_path(directory, machine), remedy)
    if certificate.public_key() != key.public_key():
        raise ClusterError(
            f"The certificate {path} does not belong to the key beside it.", f"{remedy[:-1]}, with --force."
        )
    if not is_issued_by(certificate, authority):
        raise ClusterError(
            f"The certificate {path} is not of the authority in {directory / AUTHORITY_CERTIFICATE}.",
            f"{remedy[:-1]}, with --force.",
        )
    for what, one in ((f"certificate {path}", certificate), ("certificate authority", authority)):
        _require_valid(one, what, now_s)
    if address and str(ipaddress.ip_address(address)) not in names_of(certificate).addresses:
        raise ClusterError(
            f"The certificate {path} does not name {address}, where the others reach this machine.",
            f"{remedy[:-1]}, with --force.",
        )
    files = TlsFiles(
        certificate=path,
        key=key_path(directory, machine),
        authority=directory / AUTHORITY_CERTIFICATE,
        fingerprint=fingerprint(certificate),
    )
    return Credentials(files, min(days_left(certificate, now_s), days_left(authority, now_s)))


def _require_valid(certificate: x509.Certificate, what: str, now_s: float) -> None:
    now = datetime.datetime.fromtimestamp(now_s, datetime.UTC)
    if now >= certificate.not_valid_after_utc:
        raise ClusterError(
            f"The {what} has expired on {certificate.not_valid_after_utc:%Y-%m-%d}.",
            "Run `zejzl tls renew`; for the authority `zejzl tls init --force`.",
        )
    if now < certificate.not_valid_before_utc:
        raise ClusterError(
            f"The {what} is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC.",
            "Set the clock of this machine.",
        )
