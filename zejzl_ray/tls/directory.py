"""Making, renewing and listing the certificates of a cluster: what ``zejzl tls`` does, without the command line."""

import secrets
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from zejzl_ray.errors import ClusterError, Conflict
from zejzl_ray.tls.authority import (
    Authority,
    is_issued_by,
    make_authority,
    make_request,
    names_of,
    new_key,
    requested_key,
    sign_certificate,
)
from zejzl_ray.tls.credentials import (
    AUTHORITY_CERTIFICATE,
    AUTHORITY_KEY,
    OWN_NAME,
    certificate_path,
    key_path,
)
from zejzl_ray.tls.files import (
    CERTIFICATE_MODE,
    KEY_MODE,
    certificate_text,
    exclusive_directory,
    key_text,
    read_certificate,
    read_key,
    write_file,
)
from zejzl_ray.tls.names import CertificateNames

_NO_AUTHORITY = "Run this where `zejzl tls init` was run, or run that first."
_REPLACE_KEY = "Remove it, and a new one is made."


class TlsDirectory:
    """The directory ``tls`` of a data directory; every change is whole or not made at all.

    Args:
        path: where it lies; made by the first that writes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def init(self, names: CertificateNames, now_s: float, *, is_forced: bool = False) -> bool:
        """Make the authority and the certificate of this machine; what is there already is kept.

        Args:
            names: of this machine.
            now_s: wall time.
            is_forced: make a new authority in any case; then every machine needs a new certificate.

        Returns:
            Whether anything was made.

        Raises:
            ClusterError: only half of an authority is there, or files cannot be read or written.
        """
        with exclusive_directory(self.path):
            is_new = is_forced or self._is_without_authority()
            if is_new:
                authority = make_authority(secrets.token_hex(4), now_s)
                write_file(self.path / AUTHORITY_KEY, key_text(authority.key), KEY_MODE)
                self._write_certificate(AUTHORITY_CERTIFICATE, authority.certificate)
            if is_new or not certificate_path(self.path, names.machine).exists():
                path = key_path(self.path, names.machine)
                self._issue(names, now_s, read_key(path, _REPLACE_KEY) if path.exists() else new_key())
                is_new = True
            write_file(self.path / OWN_NAME, f"{names.machine}\n".encode(), CERTIFICATE_MODE)
            return is_new

    def issue(self, names: CertificateNames, now_s: float, *, is_forced: bool = False) -> Path:
        """Make key and certificate of a machine here, to be carried there by hand.

        Returns:
            The certificate; the key lies beside it.

        Raises:
            Conflict: the machine has a certificate already.
            ClusterError: the authority's key is not here, or files cannot be read or written.
        """
        with exclusive_directory(self.path):
            self.require_free(names.machine, is_forced=is_forced)
            return self._issue(names, now_s, new_key())

    def sign(self, names: CertificateNames, request: bytes, now_s: float) -> tuple[bytes, bytes]:
        """Certify the key of a machine that keeps it; nothing is written.

        Args:
            names: what the certificate is made out to.
            request: from ``request`` on that machine.
            now_s: wall time.

        Returns:
            The certificate and that of the authority, for ``accept`` on that machine.

        Raises:
            InvalidInput: the request cannot be used.
            ClusterError: the authority's key is not here, or files cannot be read or written.
        """
        authority = self._authority()
        certificate = sign_certificate(authority, names, requested_key(request), now_s)
        return certificate_text(certificate), certificate_text(authority.certificate)

    def keep(self, machine: str, certificate: bytes) -> None:
        """Keep a copy of the certificate of another machine, once it is there: for its names and its expiry.

        Raises:
            ClusterError: files cannot be written.
        """
        with exclusive_directory(self.path):
            key_path(self.path, machine).unlink(missing_ok=True)  # of an earlier `issue` without ssh
            write_file(certificate_path(self.path, machine), certificate, CERTIFICATE_MODE)

    def require_free(self, machine: str, *, is_forced: bool) -> None:
        """Refuse to go on where the machine has a certificate already.

        Raises:
            Conflict: it has.
        """
        path = certificate_path(self.path, machine)
        if path.exists() and not is_forced:
            raise Conflict(
                f"{machine} has a certificate already: {path}.",
                f"Renew it with `zejzl tls renew {machine}`, or replace it with --force.",
            )

    def request(self, machine: str, *, is_new_key: bool = False) -> bytes:
        """Return what the authority's machine needs to certify the key of this one; made here when missing.

        A new key waits beside the one in use until ``accept`` brings its certificate.

        Raises:
            ClusterError: the key cannot be read or written.
        """
        with exclusive_directory(self.path):
            path = key_path(self.path, machine)
            if path.exists() and not is_new_key:
                key = read_key(path, _REPLACE_KEY)
            else:
                key = new_key()
                write_file(_next_key(path), key_text(key), KEY_MODE)
            return make_request(machine, key).public_bytes(Encoding.PEM)

    def accept(self, machine: str, certificate: bytes, authority: bytes, *, is_forced: bool = False) -> None:
        """Take the certificate of this machine and that of the authority.

        Args:
            machine: name of this machine.
            certificate: from ``sign``.
            authority: likewise.
            is_forced: take another authority than the one that is trusted here so far.

        Raises:
            Conflict: another authority is trusted here.
            ClusterError: the certificate is not for the key that lies here.
        """
        try:
            own, trusted = (x509.load_pem_x509_certificate(pem) for pem in (certificate, authority))
        except ValueError:
            raise ClusterError("What arrived is not a certificate.", "Run `zejzl tls issue` again.") from None
        with exclusive_directory(self.path):
            path = key_path(self.path, machine)
            keys = [one for one in (_next_key(path), path) if one.exists()]
            fitting = [one for one in keys if read_key(one).public_key() == own.public_key()]
            if not fitting or not is_issued_by(own, trusted):
                raise ClusterError(
                    f"The certificate that arrived is not for the key of {machine}.",
                    "Run `zejzl tls issue` again.",
                )
            known = self.path / AUTHORITY_CERTIFICATE
            if known.exists() and not is_forced and read_certificate(known) != trusted:
                raise Conflict(
                    f"{machine} trusts another authority, in {known}.",
                    "If it was replaced on purpose, give --force.",
                )
            if fitting[0] != path:
                write_file(path, fitting[0].read_bytes(), KEY_MODE)
            self._write_certificate(AUTHORITY_CERTIFICATE, trusted)
            self._write_certificate(certificate_path(self.path, machine).name, own)
            _next_key(path).unlink(missing_ok=True)
            write_file(self.path / OWN_NAME, f"{machine}\n".encode(), CERTIFICATE_MODE)

    def names(self, machine: str) -> CertificateNames:
        """Return what the certificate of a machine is made out to.

        Raises:
            ClusterError: there is none here.
        """
        path = certificate_path(self.path, machine)
        return names_of(read_certificate(path, f"Make it with `zejzl tls issue {machine}`."))

    def renew(self, machine: str, now_s: float, *, is_new_key: bool = False) -> Path:
        """Replace the certificate of a machine whose key lies here by one that is valid for a year from now.

        The names stay. The key stays too unless a new one is asked for: then key and certificate are two
        files, and a crash between them leaves a pair that does not fit, which the next start refuses.

        Raises:
            ClusterError: the machine's or the authority's key is not here.
        """
        with exclusive_directory(self.path):
            names = self.names(machine)
            key = read_key(
                key_path(self.path, machine), f"Its key lies on {machine}: renew it with --ssh USER@HOST."
            )
            return self._issue(names, now_s, new_key() if is_new_key else key)

    def _is_without_authority(self) -> bool:
        has = [(self.path / name).exists() for name in (AUTHORITY_CERTIFICATE, AUTHORITY_KEY)]
        if has == [True, False]:
            raise ClusterError(
                f"The key of the authority is not in {self.path}: it was made on another machine, or is lost.",
                "Run `zejzl tls issue` there, or make a new authority with --force.",
            )
        return not all(has)

    def _authority(self) -> Authority:
        return Authority(
            read_certificate(self.path / AUTHORITY_CERTIFICATE, _NO_AUTHORITY),
            read_key(self.path / AUTHORITY_KEY, _NO_AUTHORITY),
        )

    def _issue(self, names: CertificateNames, now_s: float, key: ec.EllipticCurvePrivateKey) -> Path:
        certificate = sign_certificate(self._authority(), names, key.public_key(), now_s)
        path = certificate_path(self.path, names.machine)
        write_file(key_path(self.path, names.machine), key_text(key), KEY_MODE)
        self._write_certificate(path.name, certificate)
        return path

    def _write_certificate(self, name: str, certificate: x509.Certificate) -> None:
        write_file(self.path / name, certificate_text(certificate), CERTIFICATE_MODE)


def _next_key(path: Path) -> Path:
    """Where a key waits for its certificate."""
    return path.with_name(f".{path.name}.next")
