"""Secrets of agents and services: encrypted at rest, bound to who may read them, and read by nobody else.

The value's encryption is bound to the secret's name and readers, so that somebody who can write the store cannot hand
a secret to another reader or under another name.
"""

from typing import ClassVar, Final

from pydantic import Field, SecretStr

from zejzl_ray.commands.records import Record
from zejzl_ray.contracts.access import Principal
from zejzl_ray.contracts.secrets import (
    MAX_SECRET_BYTES,
    GetSecret,
    ListSecrets,
    RevokeSecret,
    RotateSecret,
    SecretInfo,
    SecretList,
    SecretValue,
    SetSecret,
)
from zejzl_ray.contracts.wire_secret import WireSecret
from zejzl_ray.errors import InvalidInput, NoCapacity, NotFound, PayloadTooLarge
from zejzl_ray.security.at_rest import MasterKeys
from zejzl_ray.security.draft import AuditFact, SecurityDraft

MAX_SECRETS: Final = 1000
MAX_TOTAL_CHARACTERS: Final = 8 * 1024 * 1024
"""Of all encrypted values together; they are kept in memory, and encrypted anew in one commit."""
REVOKED_KEPT_S: Final = 30 * 86_400.0
"""How long the list still shows a revoked secret, without its value."""
_REMEDY: Final = "List them with `zejzl secrets list`."


class SecretRecord(Record):
    """A secret as it is kept, under its name; ``value`` is encrypted, and empty once it is revoked."""

    KIND: ClassVar[str] = "secret"

    name: str
    subjects: tuple[str, ...]
    version: int
    set_at_s: float
    set_by: str
    rotate_every_s: float | None = None
    is_revoked: bool = False
    value: str = Field(default="", repr=False)

    @property
    def place(self) -> str:
        """What the encryption is bound to: the name and the readers."""
        return place_of(self.name, self.subjects)

    def is_due(self, now_s: float) -> bool:
        """Tell whether it is time for another value."""
        if self.is_revoked or self.rotate_every_s is None:
            return False
        return now_s >= self.set_at_s + self.rotate_every_s

    def kept_until_s(self) -> float | None:
        """Return when the store may forget it; null: never. A revoked one's ``set_at_s`` is when it was revoked."""
        return self.set_at_s + REVOKED_KEPT_S if self.is_revoked else None

    def wire(self, now_s: float) -> SecretInfo:
        """Return what may be shown."""
        return SecretInfo(
            name=self.name,
            subjects=self.subjects,
            version=self.version,
            set_at_s=self.set_at_s,
            set_by=self.set_by,
            is_due=self.is_due(now_s),
            is_revoked=self.is_revoked,
        )


class SecretWithheld(NotFound):
    """Somebody asked for a secret that is not theirs; the caller is told the same as when there is none.

    A refused command leaves nothing in its draft, so the fact for the audit trail travels with the error.
    """

    def __init__(self, message: str = "", remedy: str = "", fact: AuditFact | None = None) -> None:
        super().__init__(message, remedy)
        self.args = (message, remedy, fact)
        self.fact = fact


def place_of(name: str, subjects: tuple[str, ...]) -> str:
    """Return what the encryption of a secret is bound to; the order of the readers does not matter."""
    return f"{SecretRecord.KIND}/{name} for {' '.join(sorted(set(subjects)))}"


def decide_set(draft: SecurityDraft, request: SetSecret, caller: Principal, master: MasterKeys) -> SecretInfo:
    """Store a secret; an existing one gets a new version, these readers and this period.

    Raises:
        InvalidInput: the value is empty or cannot be written as UTF-8.
        PayloadTooLarge: the value.
        NoCapacity: too many secrets, or too large together.
    """
    plaintext = _plaintext(request.value)
    before = draft.get(SecretRecord, request.name)
    subjects = tuple(sorted(set(request.subjects)))
    record = SecretRecord(
        name=request.name,
        subjects=subjects,
        version=1 if before is None else before.version + 1,
        set_at_s=draft.now_s,
        set_by=caller.subject,
        rotate_every_s=request.rotate_every_s,
        value=master.encrypt(place_of(request.name, subjects), plaintext),
    )
    _check_room(draft, record)
    _put(draft, record)
    _tell(draft, caller, "set_secret", record, request.request_id)
    return record.wire(draft.now_s)


def decide_rotate(
    draft: SecurityDraft, request: RotateSecret, caller: Principal, master: MasterKeys
) -> SecretInfo:
    """Replace a secret's value in one step; there is no moment without one, and its readers stay.

    Raises:
        NotFound: there is no such secret, or it is revoked.
        InvalidInput: the value is empty or cannot be written as UTF-8.
        PayloadTooLarge: the value.
        NoCapacity: too large together with the others.
    """
    plaintext = _plaintext(request.value)
    before = draft.get(SecretRecord, request.name)
    if before is None or before.is_revoked:
        raise NotFound(f"There is no secret {request.name}.", _REMEDY)
    record = before.model_copy(
        update={
            "version": before.version + 1,
            "set_at_s": draft.now_s,
            "set_by": caller.subject,
            "value": master.encrypt(before.place, plaintext),
        }
    )
    _check_room(draft, record)
    _put(draft, record)
    _tell(draft, caller, "rotate_secret", record, request.request_id)
    return record.wire(draft.now_s)


def decide_revoke(draft: SecurityDraft, request: RevokeSecret, caller: Principal) -> SecretInfo:
    """Remove a secret's value for good; a revoked one stays as it is.

    Raises:
        NotFound: there is no such secret.
    """
    before = draft.get(SecretRecord, request.name)
    if before is None:
        raise NotFound(f"There is no secret {request.name}.", _REMEDY)
    if before.is_revoked:
        return before.wire(draft.now_s)
    record = before.model_copy(
        update={"is_revoked": True, "value": "", "set_at_s": draft.now_s, "set_by": caller.subject}
    )
    _put(draft, record)
    _forget_oldest_revoked(draft)
    _tell(draft, caller, "revoke_secret", record, request.request_id)
    return record.wire(draft.now_s)


def decide_list(draft: SecurityDraft, request: ListSecrets, caller: Principal) -> SecretList:
    """List secrets without their values, in the order of their names; changes nothing."""
    found = sorted(
        (
            record
            for _, record in draft.all(SecretRecord)
            if request.subject is None or request.subject in record.subjects
        ),
        key=lambda record: record.name,
    )
    return SecretList(secrets=tuple(record.wire(draft.now_s) for record in found))


def decide_get(
    draft: SecurityDraft, request: GetSecret, caller: Principal, master: MasterKeys, request_id: str = ""
) -> SecretValue:
    """Return a secret to one of its readers, and have the audit trail say so; no other right opens it.

    Raises:
        NotFound: there is none, or it is revoked.
        SecretWithheld: it belongs to others; looks the same to the caller. Its ``fact`` belongs into the audit trail.
        StoreError: the key that encrypted it is missing, or it was changed in the store.
    """
    record = draft.get(SecretRecord, request.name)
    message, remedy = f"There is no secret {request.name} for {caller.subject}.", "Ask who sets the secrets."
    if record is None or record.is_revoked:
        raise NotFound(message, remedy)
    if caller.subject not in record.subjects:
        outcome = NotFound.code
        raise SecretWithheld(
            message, remedy, _fact(caller, "get_secret", record, request_id, kind="denied", outcome=outcome)
        )
    value = master.decrypt(record.place, record.value).decode()
    draft.tell(_fact(caller, "get_secret", record, request_id))
    return SecretValue(name=record.name, version=record.version, value=SecretStr(value))


def _plaintext(value: WireSecret) -> bytes:
    try:
        plaintext = value.get_secret_value().encode()
    except UnicodeEncodeError:
        plaintext = b""
    if not plaintext:
        raise InvalidInput("The value of a secret is text of at least one character.", "Give it again.")
    if len(plaintext) > MAX_SECRET_BYTES:
        raise PayloadTooLarge(
            f"A secret has {len(plaintext)} bytes, {MAX_SECRET_BYTES} are allowed.",
            "Keep large things in a file and its key as the secret.",
        )
    return plaintext


def _check_room(draft: SecurityDraft, new: SecretRecord) -> None:
    others = [
        record for name, record in draft.all(SecretRecord) if name != new.name and not record.is_revoked
    ]
    if len(others) >= MAX_SECRETS:
        raise NoCapacity(f"There are {MAX_SECRETS} secrets.", "Revoke those that nobody reads.")
    if sum(len(record.value) for record in others) + len(new.value) > MAX_TOTAL_CHARACTERS:
        raise NoCapacity(
            f"All secrets together have more than {MAX_TOTAL_CHARACTERS // 2**20} MiB.",
            "Revoke those that nobody reads.",
        )


def _forget_oldest_revoked(draft: SecurityDraft) -> None:
    revoked = sorted(
        (record for _, record in draft.all(SecretRecord) if record.is_revoked),
        key=lambda record: record.set_at_s,
    )
    for record in revoked[:-MAX_SECRETS]:
        draft.delete(SecretRecord, record.name)


def _put(draft: SecurityDraft, record: SecretRecord) -> None:
    draft.put(record.name, record, record.kept_until_s())


def _tell(
    draft: SecurityDraft, caller: Principal, operation: str, record: SecretRecord, request_id: str
) -> None:
    draft.tell(_fact(caller, operation, record, request_id))


def _fact(
    caller: Principal,
    operation: str,
    record: SecretRecord,
    request_id: str,
    *,
    kind: str = "secret",
    outcome: str = "ok",
) -> AuditFact:
    return AuditFact(
        kind=kind, subject=caller.subject, operation=f"security_gateway.{operation}", target=record.name,
        outcome=outcome, address=caller.address, request_id=request_id, details={"version": str(record.version)},
    )  # fmt: skip
