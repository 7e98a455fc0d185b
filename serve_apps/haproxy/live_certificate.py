"""Gives a running HAProxy a renewed certificate, without a restart and without losing a connection."""

import socket
from pathlib import Path
from typing import Final

from serve_apps.haproxy.wrapper import BUNDLE_NAME, bundle_of
from zejzl_ray.errors import ClusterError
from zejzl_ray.tls.credentials import TlsFiles

SOCKET_NAME: Final = "admin.sock"
_LIMIT_S: Final = 5.0
_MAX_ANSWER_BYTES: Final = 64 * 1024


def replace_certificate(directory: Path, tls: TlsFiles) -> int:
    """Hand the certificate to every proxy of a cluster on this machine; safe to repeat.

    Connections that are open go on with the one before; new ones see the new one.

    Args:
        directory: of the cluster's proxies, ``haproxy_directory``.
        tls: what to hand over.

    Returns:
        How many proxies have it now; 0 where none runs with TLS.

    Raises:
        ClusterError: a proxy runs and does not take it; says what it answered.
    """
    bundle = bundle_of(tls.certificate.read_bytes(), tls.key.read_bytes())
    told = 0
    for admin in sorted(directory.glob(f"*/{SOCKET_NAME}")):
        file = admin.with_name(BUNDLE_NAME)
        if file.exists() and _tell(admin, file, bundle):
            told += 1
    return told


def _tell(admin: Path, file: Path, bundle: bytes) -> bool:
    steps = (
        (f"set ssl cert {file} <<\n".encode() + bundle + b"\n", "ransaction"),
        (f"commit ssl cert {file}\n".encode(), "Success"),
    )
    for command, wanted in steps:
        try:
            answer = _ask(admin, command)
        except (FileNotFoundError, ConnectionRefusedError):
            return False  # left behind by a proxy that has ended
        except OSError as error:
            raise ClusterError(
                f"The ingress at {admin} does not answer ({type(error).__name__}).",
                "It takes the renewed certificate at its next start.",
            ) from None
        if wanted not in answer:
            raise ClusterError(
                f"The ingress did not take the renewed certificate: {answer.strip()}.",
                "It takes it at its next start.",
            )
    return True


def _ask(admin: Path, command: bytes) -> str:
    """Send one command to HAProxy's runtime socket, which only the cluster's user can reach."""
    answer = bytearray()
    with socket.socket(socket.AF_UNIX) as one:
        one.settimeout(_LIMIT_S)
        one.connect(str(admin))
        one.sendall(command)
        while len(answer) < _MAX_ANSWER_BYTES and (part := one.recv(4096)):
            answer += part
    return answer.decode(errors="replace")
