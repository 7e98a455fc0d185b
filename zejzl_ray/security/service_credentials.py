"""Credentials of the cluster's own services, machines and hosted agents: derived from the master key, never stored.

``zs_<kind>.<name>_<64 hexadecimal digits>``, such as ``zs_service.error_bus_...`` or ``zs_machine.pc2_...``.
``zs_service.root_...`` is that of the composition root, of ``zejzl up``. HKDF-SHA256 (RFC 5869) with the subject in
its info; a new master key gives new credentials, and the old ones count until that key is taken away.
"""

import hmac
import re
from typing import Final

from pydantic import SecretStr

from zejzl_ray.security.at_rest import MasterKeys

PREFIX: Final = "zs_"
_TEXT: Final = re.compile(r"zs_(service|machine|agent)\.([A-Za-z][A-Za-z0-9_.-]{0,127})_([0-9a-f]{64})")


def derive(master: MasterKeys, subject: str) -> SecretStr:
    """Return the credential of a service, machine or agent (``kind:name``) under the newest master key."""
    return SecretStr(_text(subject, master.derived(_purpose(subject))[0]))


def subject_of(master: MasterKeys, text: str) -> str | None:
    """Return whose credential a text is, null when it is none; tries all master keys, in constant time."""
    if not (found := _TEXT.fullmatch(text)):
        return None
    subject = f"{found[1]}:{found[2]}"
    known = [_text(subject, key) for key in master.derived(_purpose(subject))]
    # All are compared, so that the time does not tell which key it was.
    is_known = sum(hmac.compare_digest(text, each) for each in known) > 0
    return subject if is_known else None


def _purpose(subject: str) -> str:
    return f"zejzl service credential {subject}"


def _text(subject: str, key: bytes) -> str:
    kind, _, name = subject.partition(":")
    return f"{PREFIX}{kind}.{name}_{key.hex()}"
