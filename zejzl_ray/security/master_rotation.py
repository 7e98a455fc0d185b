"""Encrypting everything at rest with the newest master key: one list of what is encrypted, whoever keeps it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from zejzl_ray.commands.records import Record
from zejzl_ray.contracts.access import Principal
from zejzl_ray.contracts.secrets import MasterKeyRotated, RotateMasterKey
from zejzl_ray.security.at_rest import MasterKeys
from zejzl_ray.security.credential_records import CredentialRecord
from zejzl_ray.security.draft import AuditFact, SecurityDraft
from zejzl_ray.security.secrets import SecretRecord


@dataclass(frozen=True, slots=True)
class AtRest:
    """One field of one kind of record that is encrypted.

    Attributes:
        kind: of the records.
        field: that holds the encrypted text; empty where a record has nothing encrypted.
        place: what a record's encryption is bound to.
        kept_until_s: when the store forgets a record; null: never.
    """

    kind: type[Record]
    field: str
    place: Callable[[Any], str]
    kept_until_s: Callable[[Any], float | None] = lambda record: None


SECRETS: Final = AtRest(
    SecretRecord, "value", lambda record: record.place, lambda record: record.kept_until_s()
)
SIGNING_SECRETS: Final = AtRest(
    CredentialRecord, "signing_secret", lambda record: record.place, lambda record: record.kept_until_s()
)


def decide_rotate_master(
    draft: SecurityDraft,
    request: RotateMasterKey,
    caller: Principal,
    master: MasterKeys,
    registry: Iterable[AtRest] = (SECRETS, SIGNING_SECRETS),
) -> MasterKeyRotated:
    """Encrypt with the newest master key what is not yet, all in one commit; safe to repeat.

    Args:
        draft: what is changed.
        request: of whom the audit trail tells.
        caller: who asks.
        master: the keys; the old ones are needed until this is durable.
        registry: every encrypted field there is; the signing keys of tokens are to be among them.

    Raises:
        StoreError: an old key is missing or a record was changed; nothing is encrypted anew then.
    """
    anew: list[tuple[str, Record, float | None]] = []
    for each in registry:
        for key, record in draft.all(each.kind):
            text: str = getattr(record, each.field)
            if text and master.needs_rotation(text):
                update = {each.field: master.rotated(each.place(record), text)}
                anew.append((key, record.model_copy(update=update), each.kept_until_s(record)))
    for key, record, until_s in anew:
        draft.put(key, record, until_s)
    draft.tell(
        AuditFact(
            kind="keys", subject=caller.subject, operation="security_gateway.rotate_master_key",
            address=caller.address, request_id=request.request_id, count=len(anew),
        )
    )  # fmt: skip
    return MasterKeyRotated(records=len(anew), key=master.fingerprint)
