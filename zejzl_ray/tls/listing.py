"""Which certificates lie in a directory, and for how long they will do."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cryptography import x509

from zejzl_ray.tls.authority import is_issued_by, names_of
from zejzl_ray.tls.credentials import AUTHORITY_CERTIFICATE, SOON_DAYS, days_left
from zejzl_ray.tls.files import read_certificate


@dataclass(frozen=True, slots=True)
class CertificateRow:
    """One certificate of the directory.

    Attributes:
        name: machine, or ``ca`` for the authority.
        role: what it is.
        names: host names and addresses that it is made out to.
        expires_at_s: wall time.
        days_left: until then; below 0 when it has expired.
        has_key: whether its private key lies here too.
        is_trusted: whether the authority that lies here has signed it.
    """

    name: str
    role: Literal["authority", "machine"]
    names: tuple[str, ...]
    expires_at_s: float
    days_left: float
    has_key: bool
    is_trusted: bool

    @property
    def is_ending_soon(self) -> bool:
        """Whether it expires within 30 days, or has."""
        return self.days_left < SOON_DAYS


def certificate_rows(directory: Path, now_s: float) -> tuple[CertificateRow, ...]:
    """Return every certificate of the directory, the authority first.

    Raises:
        ClusterError: one cannot be read.
    """
    if not (directory / AUTHORITY_CERTIFICATE).exists():
        return ()
    authority = read_certificate(directory / AUTHORITY_CERTIFICATE)
    rows = [_row("authority", directory / AUTHORITY_CERTIFICATE, authority, now_s)]
    for path in sorted(directory.glob("*.pem")):
        if path.name != AUTHORITY_CERTIFICATE and not path.name.startswith("."):
            rows.append(_row("machine", path, authority, now_s))
    return tuple(rows)


def _row(
    role: Literal["authority", "machine"], path: Path, authority: x509.Certificate, now_s: float
) -> CertificateRow:
    certificate = read_certificate(path)
    found = names_of(certificate) if role == "machine" else None
    return CertificateRow(
        name=path.stem,
        role=role,
        names=(*found.dns, *found.addresses) if found is not None else (),
        expires_at_s=certificate.not_valid_after_utc.timestamp(),
        days_left=days_left(certificate, now_s),
        has_key=path.with_suffix(".key").exists(),
        is_trusted=is_issued_by(certificate, authority),
    )
