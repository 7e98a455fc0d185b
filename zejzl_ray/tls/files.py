"""Certificates and keys on disk: written whole or not at all, keys for their owner only, checked when read."""

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from zejzl_ray.errors import ClusterError

KEY_MODE: Final = 0o600
CERTIFICATE_MODE: Final = 0o644
_MAX_BYTES: Final = 64 * 1024  # far above any of these files


def write_file(path: Path, content: bytes, mode: int) -> None:
    """Replace a file at once; readers see the old or the new one, and after a crash one of the two is there.

    Raises:
        ClusterError: it cannot be written.
    """
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(mode)
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        raise ClusterError(f"Cannot write {path}: {error.strerror}.") from None


def read_file(path: Path, what: str, remedy: str) -> bytes:
    """Return the content of a file of at most 64 KiB.

    Raises:
        ClusterError: it is not there, cannot be read, or is longer.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ClusterError(f"No {what} at {path}: {error.strerror}.", remedy) from None
    if len(content) > _MAX_BYTES:
        raise ClusterError(f"{path} is no {what}: it is longer than {_MAX_BYTES} bytes.", remedy)
    return content


def read_certificate(path: Path, remedy: str = "") -> x509.Certificate:
    """Return the certificate in a file.

    Raises:
        ClusterError: there is none; names the file.
    """
    try:
        return x509.load_pem_x509_certificate(read_file(path, "certificate", remedy))
    except ValueError:
        raise ClusterError(f"{path} holds no certificate.", remedy) from None


def read_key(path: Path, remedy: str = "") -> ec.EllipticCurvePrivateKey:
    """Return the private key in a file.

    Raises:
        ClusterError: there is none, it is of another kind, or others may read it; names the file.
    """
    content = read_file(path, "private key", remedy)
    if path.stat().st_mode & 0o077:
        raise ClusterError(f"Others may read the private key {path}.", f"Run: chmod 600 {path}")
    try:
        key = serialization.load_pem_private_key(content, password=None)
    except (ValueError, TypeError):
        raise ClusterError(f"{path} holds no private key that can be read.", remedy) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ClusterError(f"{path} holds a private key of another kind.", remedy)
    return key


def certificate_text(certificate: x509.Certificate) -> bytes:
    """Return a certificate as it stands in a file."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def key_text(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a private key as it stands in a file of mode 0600."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@contextmanager
def exclusive_directory(path: Path) -> Iterator[None]:
    """Make the directory, mode 0700, and keep a second writer away.

    Raises:
        ClusterError: somebody else is writing, or the directory cannot be used.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise ClusterError(f"Cannot use the directory {path}: {error.strerror}.") from None
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ClusterError(f"Another `zejzl tls` works on {path}.", "Wait until it is done.") from None
        yield
