"""A person as stored, and as shown."""

from collections.abc import Iterable
from typing import ClassVar

from pydantic import Field

from zejzl_ray.commands.records import Record, RecordDraft
from zejzl_ray.contracts.people import User
from zejzl_ray.errors import NotFound
from zejzl_ray.security.lockout import account_key


class UserRecord(Record):
    """A person as stored, under the name.

    ``password_hash`` is null for somebody who has none, such as the first administrator, whose credential is a file.
    ``password_version`` counts the passwords, so that a login that began with an old one does not end well.
    ``known_addresses`` are the last ones from which a login succeeded, newest first.
    """

    KIND: ClassVar[str] = "user"

    user: str
    roles: tuple[str, ...]
    created_at_s: float
    created_by: str = ""
    password_hash: str | None = Field(default=None, repr=False)
    password_version: int = 0
    password_changed_at_s: float | None = None
    last_login_at_s: float | None = None
    is_active: bool = True
    known_addresses: tuple[str, ...] = Field(default=(), max_length=8)


def subject_of(user: str) -> str:
    """Return the subject of a person."""
    return f"user:{user}"


def require(draft: RecordDraft, user: str) -> UserRecord:
    """Return the record of a person.

    Raises:
        NotFound: there is no such person.
    """
    record = draft.get(UserRecord, user)
    if record is None:
        raise NotFound(f"There is no person named {user}.", "List them with `zejzl users list`.")
    return record


def shown(record: UserRecord, locked: Iterable[str] = (), sessions: int = 0) -> User:
    """Return what others see of a person; ``locked`` as ``locked_accounts`` gives it."""
    return User(
        user=record.user,
        roles=record.roles,
        created_at_s=record.created_at_s,
        created_by=record.created_by,
        last_login_at_s=record.last_login_at_s,
        password_changed_at_s=record.password_changed_at_s,
        is_active=record.is_active,
        is_locked=account_key(record.user) in locked,
        sessions=sessions,
    )
