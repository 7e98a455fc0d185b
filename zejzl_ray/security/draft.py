"""What one commit of the gateway will change: records, news for the verifiers, entries of the audit trail."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from zejzl_ray.commands.records import RecordDraft, Records
from zejzl_ray.contracts.access import Standing
from zejzl_ray.contracts.security_feed import Revocation


@dataclass(frozen=True, slots=True)
class AuditFact:
    """What the audit trail is told of; the journal makes an entry of its chain of it, in the same commit."""

    kind: str
    subject: str = ""
    operation: str = ""
    target: str = ""
    outcome: str = "ok"
    reason: str = ""
    address: str = ""
    request_id: str = ""
    count: int = 1
    details: Mapping[str, str] = field(default_factory=dict)


class SecurityDraft(RecordDraft):
    """A draft of the gateway.

    Attributes:
        revocations: new ones, stored and sent to the verifiers.
        standings: subject -> its standing after this commit.
        are_keys_changed: the public keys have to be sent again.
        are_limits_changed: limits or address lists have to be sent again.
        facts: for the audit trail.
    """

    def __init__(self, records: Records, now_s: float) -> None:
        super().__init__(records, now_s)
        self.revocations: list[Revocation] = []
        self.standings: dict[str, Standing] = {}
        self.are_keys_changed = False
        self.are_limits_changed = False
        self.facts: list[AuditFact] = []

    def revoke(self, revocation: Revocation) -> None:
        """Have all verifiers refuse something; durable with this commit."""
        self.revocations.append(revocation)

    def tell(self, fact: AuditFact) -> None:
        """Have the audit trail say something; durable with this commit."""
        self.facts.append(fact)
