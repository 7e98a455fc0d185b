"""Logins as they are kept and as they are listed."""

from typing import ClassVar

from pydantic import Field

from zejzl_ray.commands.records import Record, RecordDraft
from zejzl_ray.contracts.access import Principal
from zejzl_ray.contracts.tokens import ListSessions, Session, SessionPage


class SessionRecord(Record):
    """A login as it is kept: digests only, and the last answer encrypted for as long as it may be asked for again."""

    KIND: ClassVar[str] = "session"

    session: str
    subject: str
    created_at_s: float
    last_used_at_s: float
    expires_at_s: float
    """Latest end, however often it is used."""
    idle_until_s: float
    address: str = ""
    scopes: tuple[str, ...] = ()
    audience: str
    current_digest: str = Field(default="", repr=False)
    previous_digest: str = Field(default="", repr=False)
    previous_request_id: str = ""
    previous_at_s: float = 0.0
    previous_answer: str = Field(default="", repr=False)
    ended_at_s: float | None = None
    ended_because: str = ""

    @property
    def place(self) -> str:
        """What the encryption of the last answer is bound to."""
        return f"{self.KIND}/{self.session}"

    def is_active(self, now_s: float) -> bool:
        """Tell whether it can still be renewed."""
        return self.ended_at_s is None and now_s < self.until_s

    @property
    def until_s(self) -> float:
        """When it ends unless it is renewed."""
        return min(self.expires_at_s, self.idle_until_s)

    def wire(self, now_s: float) -> Session:
        """Return what may be shown."""
        is_active = self.is_active(now_s)
        return Session(
            session=self.session,
            subject=self.subject,
            created_at_s=self.created_at_s,
            last_used_at_s=self.last_used_at_s,
            expires_at_s=self.until_s,
            address=self.address,
            is_active=is_active,
            ended_because="" if is_active else self.ended_because or "expired",
        )


class SubjectSessions(Record):
    """Which sessions a subject has, oldest first."""

    KIND: ClassVar[str] = "subject_sessions"

    sessions: tuple[str, ...]


def all_of(draft: RecordDraft, subject: str) -> list[SessionRecord]:
    """Return the sessions of a subject, oldest first, with the last ones that are over."""
    index = draft.get(SubjectSessions, subject)
    found = (draft.get(SessionRecord, key) for key in (index.sessions if index else ()))
    return [record for record in found if record is not None]


def active_of(draft: RecordDraft, subject: str) -> list[SessionRecord]:
    """Return the active sessions of a subject, oldest first."""
    return [record for record in all_of(draft, subject) if record.is_active(draft.now_s)]


def list_page(draft: RecordDraft, request: ListSessions) -> SessionPage:
    """Return one page of sessions, newest first; those that are over stay listed for a while."""
    found = sorted(
        (
            record
            for _, record in draft.all(SessionRecord)
            if request.subject is None or record.subject == request.subject
        ),
        key=_cursor,
    )
    if request.cursor:
        found = [record for record in found if _cursor(record) > request.cursor]
    page = found[: request.limit]
    return SessionPage(
        sessions=tuple(record.wire(draft.now_s) for record in page),
        next_cursor=_cursor(page[-1]) if len(found) > len(page) else "",
    )


def list_own(draft: RecordDraft, caller: Principal) -> SessionPage:
    """Return the sessions of the caller, newest first."""
    records = sorted(all_of(draft, caller.subject), key=_cursor)
    return SessionPage(sessions=tuple(record.wire(draft.now_s) for record in records))


def _cursor(record: SessionRecord) -> str:
    # Milliseconds counted down, so that the newest sorts first as text.
    return f"{10**15 - int(record.created_at_s * 1000):016d}-{record.session}"
