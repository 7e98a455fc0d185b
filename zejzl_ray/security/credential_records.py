"""Long-lived credentials as they are kept and ended; knows nothing of people, so that these can end theirs."""

import math
from typing import ClassVar, Final, Literal

from pydantic import Field

from zejzl_ray.commands.records import Record, RecordDraft, Records
from zejzl_ray.contracts.security_feed import Revocation
from zejzl_ray.contracts.tokens import Credential
from zejzl_ray.security.draft import SecurityDraft

ENDED_KEPT_S: Final = 30 * 86_400.0
"""How long the list still shows a credential that has ended."""
LONGEST_TOKEN_S: Final = 3700.0
"""No access token lives longer, with some leeway; a revocation is kept that long."""


class CredentialRecord(Record):
    """A credential as it is kept.

    ``roles`` of a person's credential that is empty stands for the account's, unless ``are_roles_fixed``.
    ``secret_digest`` is SHA-256 of the secret part, empty for a signing credential; that one's ``signing_secret`` is
    encrypted at rest, bound to ``place``. Neither proves anything to anybody.
    """

    KIND: ClassVar[str] = "credential"

    credential_id: str
    subject: str
    label: str = ""
    roles: tuple[str, ...] = ()
    are_roles_fixed: bool = False
    scopes: tuple[str, ...] = ()
    created_at_s: float
    created_by: str = ""
    expires_at_s: float | None = None
    last_used_at_s: float | None = None
    calls_per_minute: int | None = None
    origin: Literal["made", "enrolled", "administrator"] = "made"
    is_pending: bool = False
    ended_at_s: float | None = None
    ended_because: str = ""
    secret_digest: str = Field(default="", repr=False)
    signing_secret: str = Field(default="", repr=False)

    @property
    def is_signing(self) -> bool:
        """Whether it signs requests; such a one cannot be exchanged as a text."""
        return bool(self.signing_secret)

    @property
    def place(self) -> str:
        """Where the signing secret stands in the store; its encryption is bound to it."""
        return f"{self.KIND}/{self.credential_id}"

    def is_active(self, now_s: float) -> bool:
        """Tell whether it counts: approved, not revoked, not expired."""
        is_over = self.expires_at_s is not None and self.expires_at_s <= now_s
        return not (self.is_pending or is_over or self.ended_at_s is not None)

    def kept_until_s(self) -> float | None:
        """Return when the store may forget it; null: never.

        An administrator's is remembered for good, or a revoked file would count again one day.
        """
        ends = [at_s for at_s in (self.ended_at_s, self.expires_at_s) if at_s is not None]
        if not ends or self.origin == "administrator":
            return None
        return min(ends) + ENDED_KEPT_S

    def wire(self, now_s: float) -> Credential:
        """Return what may be shown."""
        is_over = self.ended_at_s is None and self.expires_at_s is not None and self.expires_at_s <= now_s
        return Credential(
            credential_id=self.credential_id,
            subject=self.subject,
            label=self.label,
            roles=self.roles,
            scopes=self.scopes,
            created_at_s=self.created_at_s,
            created_by=self.created_by,
            expires_at_s=self.expires_at_s,
            last_used_at_s=self.last_used_at_s,
            is_signing=self.is_signing,
            calls_per_minute=self.calls_per_minute,
            is_active=self.is_active(now_s),
            is_pending=self.is_pending,
            ended_because="expired" if is_over else self.ended_because,
        )


def get(source: Records | RecordDraft, credential_id: str, now_s: float) -> CredentialRecord | None:
    """Return a credential by its id, whether it counts or not; null when there is none."""
    if isinstance(source, RecordDraft):
        return source.get(CredentialRecord, credential_id)
    return source.get(CredentialRecord, credential_id, now_s)


def note_use(draft: SecurityDraft, credential_id: str) -> None:
    """Remember when a credential was used, to the minute, so that a busy one is not stored with every use."""
    record = draft.get(CredentialRecord, credential_id)
    minute_s = math.floor(draft.now_s / 60) * 60.0
    if record is not None and (record.last_used_at_s is None or record.last_used_at_s < minute_s):
        put(draft, record.model_copy(update={"last_used_at_s": minute_s}))


def end(draft: SecurityDraft, record: CredentialRecord, because: str) -> None:
    """End a credential, and have its tokens refused everywhere."""
    put(draft, record.model_copy(update={"ended_at_s": draft.now_s, "ended_because": because}))
    draft.are_limits_changed |= record.calls_per_minute is not None
    draft.revoke(
        Revocation(kind="session", value=record.credential_id, until_s=draft.now_s + LONGEST_TOKEN_S)
    )


def end_of_subject(draft: SecurityDraft, subject: str, because: str) -> int:
    """End all active credentials of a subject, as when a person is removed; return how many."""
    found = [
        record
        for _, record in draft.all(CredentialRecord)
        if record.subject == subject and record.is_active(draft.now_s)
    ]
    for record in found:
        end(draft, record, because)
    return len(found)


def put(draft: SecurityDraft, record: CredentialRecord) -> None:
    """Store a credential until it may be forgotten."""
    draft.put(record.credential_id, record, record.kept_until_s())
