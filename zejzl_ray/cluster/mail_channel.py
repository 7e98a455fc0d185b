"""What both ends of the direct way of mail agree on: names, sizes, and TLS with the machine's own certificate.

Ray's actor calls cost about a millisecond of CPU each, whatever they carry; gRPC, which Ray brings along, a third of
it. So hosts find each other and prove who they are over their actors, and bring batches from process to process.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from zejzl_ray.contracts.agent_host import MAX_FRAME_BYTES, SERVICE

METHOD: Final = "deliver_mail"
SERVICE_NAME: Final = f"zejzl.{SERVICE}"
METHOD_PATH: Final = f"/{SERVICE_NAME}/{METHOD}"
# Metadata of a call, beside ``authorization: Bearer TOKEN``.
CONNECTION_KEY: Final = "zejzl-connection"
AUTHORIZATION_KEY: Final = "authorization"
BEARER: Final = "Bearer "

_ROOM: Final = 64 * 1024  # around a frame
LIMITS: Final[tuple[tuple[str, int], ...]] = (
    ("grpc.max_receive_message_length", MAX_FRAME_BYTES + _ROOM),
    ("grpc.max_send_message_length", MAX_FRAME_BYTES + _ROOM),
)


@dataclass(frozen=True, slots=True)
class MailTls:
    """Certificate and key of this machine, and the authority that its peers must come from; PEM."""

    certificate: bytes
    key: bytes
    authority: bytes


def mail_tls(environment: Mapping[str, str]) -> MailTls | None:
    """Return what Ray itself speaks TLS with, as the environment of its processes says; None where it speaks none.

    Raises:
        OSError: a file cannot be read.
    """
    if environment.get("RAY_USE_TLS") != "1":
        return None
    return MailTls(
        Path(environment["RAY_TLS_SERVER_CERT"]).read_bytes(),
        Path(environment["RAY_TLS_SERVER_KEY"]).read_bytes(),
        Path(environment["RAY_TLS_CA_CERT"]).read_bytes(),
    )
