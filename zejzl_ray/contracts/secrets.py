"""Secrets of agents and services on the wire: set by an operator, read by their owner alone."""

import re
from typing import Annotated

from pydantic import Field, StringConstraints

from zejzl_ray.contracts.access import Subject
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.tokens import RequestId
from zejzl_ray.contracts.wire_secret import WireSecret
from zejzl_ray.ids import new_id

SecretName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,127}$")]
MAX_SECRET_BYTES = 64 * 1024
REFERENCE = "secret:"
"""What a text begins with that stands for a secret, as the fleet file has it; the rest is the secret's name."""


def file_variable_of(name: str) -> str:
    """Return the environment variable that may name the file of a secret."""
    return f"ZEJZL_SECRET_{re.sub('[^A-Z0-9]', '_', name.upper())}_FILE"


class SetSecret(Contract):
    """Store a secret for one or several subjects; an existing one gets a new version."""

    name: SecretName
    subjects: tuple[Subject, ...] = Field(min_length=1, max_length=64)
    value: WireSecret = Field(max_length=MAX_SECRET_BYTES)
    rotate_every_s: float | None = Field(default=None, gt=0, description="after it the list says it is due")
    request_id: RequestId = Field(default_factory=new_id)


class SecretInfo(Contract):
    """A secret without its value."""

    name: str
    subjects: tuple[str, ...]
    version: int = Field(ge=1)
    set_at_s: float
    set_by: str = ""
    is_due: bool = False
    is_revoked: bool = False


class ListSecrets(Contract):
    """List secrets without their values."""

    subject: Subject | None = None


class SecretList(Contract):
    """Secrets in the order of their names."""

    secrets: tuple[SecretInfo, ...]


class GetSecret(Contract):
    """Read a secret of one's own."""

    name: SecretName


class SecretValue(Contract):
    """A secret's value, for its owner."""

    name: str
    version: int
    value: WireSecret


class RotateSecret(Contract):
    """Replace a secret's value; its readers stay, and the value before is gone."""

    name: SecretName
    value: WireSecret = Field(max_length=MAX_SECRET_BYTES)
    request_id: RequestId = Field(default_factory=new_id)


class RevokeSecret(Contract):
    """Remove a secret; nobody reads it any more. Safe to repeat."""

    name: SecretName
    request_id: RequestId = Field(default_factory=new_id)


class RotateMasterKey(Contract):
    """Encrypt everything at rest with the newest master key of the key file; safe to repeat."""

    request_id: RequestId = Field(default_factory=new_id)


class MasterKeyRotated(Contract):
    """How many records were encrypted anew, and with which key everything is encrypted now."""

    records: int
    key: str = Field(default="", description="fingerprint of the newest key that the gateway knows")
