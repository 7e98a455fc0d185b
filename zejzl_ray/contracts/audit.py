"""The audit trail on the wire.

Each process that decides writes a chain: every entry holds the hash of the one before it. The heads of all chains are
written into the gateway's own chain every 10 s, so that a chain cut off or made anew disagrees with its anchors.
"""

from typing import Literal

from pydantic import Field

from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.wire_secret import Digest
from zejzl_ray.ids import new_id

ChainName = str
GENESIS = "0" * 64


class AuditEntry(Contract):
    """One entry. ``hash`` is SHA-256 over the canonical JSON of all other members, ``previous`` among them."""

    chain: str = Field(max_length=128)
    index: int = Field(ge=1)
    at_s: float
    kind: Literal[
        "denied", "granted", "grants_counted", "issued", "revoked", "policy", "keys", "people", "credential",
        "enrolment", "trust", "secret", "security_event", "anchor", "started", "dropped",
    ]  # fmt: skip
    subject: str = Field(default="", max_length=160)
    operation: str = Field(default="", max_length=160)
    target: str = Field(default="", max_length=256)
    outcome: str = Field(default="", max_length=64, description="ok, or the code of the error")
    reason: str = Field(default="", max_length=512)
    address: str = Field(default="", max_length=64)
    request_id: str = Field(default="", max_length=128)
    count: int = Field(default=1, ge=0)
    details: dict[str, str] = Field(default_factory=dict, max_length=16)
    previous: Digest
    hash: Digest


class ChainHead(Contract):
    """Where a chain stands."""

    chain: str = Field(max_length=128)
    index: int = Field(ge=0)
    hash: Digest


class AnchorAudit(Contract):
    """A process writes the head of its chain into the gateway's; a head behind the last anchor is refused."""

    head: ChainHead
    request_id: str = Field(default_factory=new_id, min_length=1, max_length=128)


class Anchored(Contract):
    """The anchor's place in the gateway's chain."""

    index: int


class RecordAudit(Contract):
    """A process without a store of its own (ingress, node agent) hands over the next entries of its chain.

    Entries that are already there are passed over; a gap or a broken link is refused.
    """

    entries: tuple[AuditEntry, ...] = Field(min_length=1, max_length=1000)
    request_id: str = Field(default_factory=new_id, min_length=1, max_length=128)


class AuditRecorded(Contract):
    """Where the chain stands at the gateway now."""

    head: ChainHead


class ListChains(Contract):
    """Ask which chains a service keeps."""


class Chains(Contract):
    """Chains that a service keeps, and where each stands."""

    heads: tuple[ChainHead, ...]


class ReadAudit(Contract):
    """Read entries of one chain, oldest first; ``chain`` empty: the service's own."""

    chain: str = Field(default="", max_length=128)
    after: int = Field(default=0, ge=0)
    limit: int = Field(default=100, ge=1, le=1000)
    is_newest: bool = Field(default=False, description="the last ``limit`` entries instead")


class AuditPage(Contract):
    """Entries in their order, and the head of the chain."""

    entries: tuple[AuditEntry, ...]
    head: ChainHead
    oldest: int = Field(default=1, ge=1, description="index of the oldest entry that is kept")
