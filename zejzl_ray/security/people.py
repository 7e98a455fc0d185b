"""People: who is registered, with which roles, and how that changes.

All functions decide on a draft and change nothing else. Passwords arrive here hashed: the service has the policy
checked and the hash made before, outside of the draft (``password_policy.py``, ``passwords.py``).
"""

from collections.abc import Callable, Iterable
from typing import Final

from zejzl_ray.auth.credential_text import login_refused
from zejzl_ray.auth.scopes import is_within
from zejzl_ray.commands.records import RecordDraft
from zejzl_ray.contracts.access import Principal
from zejzl_ray.contracts.people import (
    CreateUser,
    DeleteUser,
    GetUser,
    ListUsers,
    SetPassword,
    UpdateUser,
    User,
    UserDeleted,
    UserPage,
)
from zejzl_ray.contracts.policy import Policy
from zejzl_ray.contracts.security_feed import Revocation
from zejzl_ray.errors import Conflict, Forbidden, InvalidInput
from zejzl_ray.security.draft import AuditFact, SecurityDraft
from zejzl_ray.security.lockout import lift_in, locked_accounts
from zejzl_ray.security.permissions import grants_of
from zejzl_ray.security.user_record import UserRecord, require, shown, subject_of

__all__ = [
    "ADMINISTRATOR", "UserRecord", "decide_create", "decide_delete", "decide_set_password", "decide_update", "get",
    "list_page", "require", "shown", "subject_of",
]  # fmt: skip

ADMINISTRATOR: Final = "admin"
"""Name of the first administrator, and the role that administrators have."""
# No access token lives longer, with some leeway; a revocation may be forgotten after it.
_LONGEST_TOKEN_S: Final = 3700.0


def decide_create(
    draft: SecurityDraft, request: CreateUser, caller: Principal, password_hash: str, policy: Policy
) -> User:
    """Register a person.

    Raises:
        Conflict: there is somebody of this name, be it written with other capitals.
        InvalidInput: a role is not in the policy.
        Forbidden: a role gives what the caller does not have.
    """
    roles = tuple(dict.fromkeys(request.roles))
    _require_known(roles, policy)
    subject = subject_of(request.user)
    _require_own(subject, grants_of(subject, roles, policy), caller)
    folded = request.user.casefold()
    if any(name.casefold() == folded for name, _ in draft.all(UserRecord)):
        raise Conflict(f"There is a person named {request.user} already.", "Choose another name.")
    record = UserRecord(
        user=request.user,
        roles=roles,
        created_at_s=draft.now_s,
        created_by=caller.subject,
        password_hash=password_hash,
        password_version=1,
        password_changed_at_s=draft.now_s,
    )
    draft.put(record.user, record)
    _tell(draft, caller, "created", record.user, request.request_id, roles=roles)
    return shown(record)


def decide_update(
    draft: SecurityDraft,
    request: UpdateUser,
    caller: Principal,
    policy: Policy,
    *,
    sessions: int = 0,
) -> User:
    """Change roles, close or open an account, lift its lock-outs. Where rights shrink, all that was issued ends.

    The lock-outs in memory are lifted by ``Login.lift`` once this is committed.

    Raises:
        NotFound: there is no such person.
        InvalidInput: a role is not in the policy.
        Forbidden: a new role gives what the caller does not have.
        Conflict: the last administrator would be gone.
    """
    before = require(draft, request.user)
    subject = subject_of(before.user)
    roles = before.roles if request.roles is None else tuple(dict.fromkeys(request.roles))
    is_active = before.is_active if request.is_active is None else request.is_active
    if request.roles is not None:
        _require_known(roles, policy)
    had = grants_of(subject, before.roles, policy) if before.is_active else ()
    gets = grants_of(subject, roles, policy) if is_active else ()
    _require_own(subject, [grant for grant in gets if not is_within(grant, had)], caller)
    after = before.model_copy(update={"roles": roles, "is_active": is_active})
    _require_administrator(draft, before, after)
    if after != before:
        draft.put(after.user, after)
    if any(not is_within(grant, gets) for grant in had):
        _end_everything(draft, subject)
    if request.is_unlocked:
        lift_in(draft, before.user)
    if after != before or request.is_unlocked:
        outcome = "updated" if after != before else "unlocked"
        _tell(draft, caller, outcome, after.user, request.request_id, roles=roles, is_active=is_active)
    return shown(after, locked_accounts(draft), sessions)


def decide_delete(draft: SecurityDraft, request: DeleteUser, caller: Principal) -> UserDeleted:
    """Remove a person; what was issued ends.

    Raises:
        Conflict: it is the last administrator.
    """
    record = draft.get(UserRecord, request.user)
    if record is None:
        return UserDeleted(user=request.user, was_there=False)
    _require_administrator(draft, record, None)
    draft.delete(UserRecord, record.user)
    lift_in(draft, record.user)
    _end_everything(draft, subject_of(record.user))
    _tell(draft, caller, "deleted", record.user, request.request_id)
    return UserDeleted(user=record.user, was_there=True)


def decide_set_password(
    draft: SecurityDraft,
    request: SetPassword,
    caller: Principal,
    password_hash: str,
    policy: Policy,
    *,
    is_old_right: bool | None,
    password_version: int | None = None,
    sessions: int = 0,
) -> User:
    """Change a password; everything that was issued to the person before ends.

    Args:
        draft: what the commit stores.
        request: whose password, and the old one where it is one's own.
        caller: who asks; for another person's password the scope was checked before.
        password_hash: of the new password.
        policy: says what the person may do.
        is_old_right: what looking at the old password gave; null when none was given.
        password_version: of the record that the old password was looked at with; null when it was not.
        sessions: how many logins the person has, for the answer.

    Raises:
        NotFound: there is no such person.
        LoginRefused: one's own password without the right old one.
        Forbidden: the password of somebody who may do what the caller may not; or a first one of one's own, with a
            token that allows less than one may.
        InvalidInput: the new password is the old one.
    """
    before = require_settable(draft, request, caller, policy)
    has_changed = password_version is not None and password_version != before.password_version
    has_proved = is_old_right or before.password_hash is None or caller.subject != subject_of(before.user)
    if is_old_right is False or has_changed or not has_proved:
        raise login_refused()
    old = request.old_password
    if old is not None and old.get_secret_value() == request.new_password.get_secret_value():
        raise InvalidInput("new_password: it is the old one.", "Choose another password.")
    after = before.model_copy(
        update={
            "password_hash": password_hash,
            "password_version": before.password_version + 1,
            "password_changed_at_s": draft.now_s,
        }
    )
    draft.put(after.user, after)
    _end_everything(draft, subject_of(after.user))
    _tell(draft, caller, "password_changed", after.user, request.request_id)
    return shown(after, locked_accounts(draft), sessions)


def require_settable(
    draft: RecordDraft, request: SetPassword, caller: Principal, policy: Policy
) -> UserRecord:
    """Return the person whose password the caller may change, if the old one, where one is given, is right.

    Whoever may log in with a password may do all that the person may: so a caller who need not know the old password
    has to hold that already, be it the person's own token with narrower scopes.

    Raises:
        NotFound, LoginRefused, Forbidden: as ``decide_set_password``.
    """
    before = require(draft, request.user)
    subject = subject_of(before.user)
    if caller.subject == subject and before.password_hash is not None:
        if request.old_password is None:
            raise login_refused()
        return before
    _require_own(subject, grants_of(subject, before.roles, policy), caller)
    return before


def get(draft: RecordDraft, request: GetUser, *, sessions: int = 0) -> User:
    """Return one person.

    Raises:
        NotFound: there is no such person.
    """
    return shown(require(draft, request.user), locked_accounts(draft), sessions)


def list_page(
    draft: RecordDraft, request: ListUsers, *, sessions_of: Callable[[str], int] = lambda user: 0
) -> UserPage:
    """Return people in the order of their names, after the cursor."""
    names = sorted(name for name, _ in draft.all(UserRecord) if name > request.cursor)
    page = names[: request.limit]
    locked = locked_accounts(draft)
    records = [record for name in page if (record := draft.get(UserRecord, name)) is not None]
    return UserPage(
        users=tuple(shown(record, locked, sessions_of(record.user)) for record in records),
        next_cursor=page[-1] if len(names) > len(page) else "",
    )


def _require_known(roles: Iterable[str], policy: Policy) -> None:
    unknown = [role for role in roles if role not in policy.roles]
    if unknown:
        raise InvalidInput(
            f"roles: {', '.join(unknown)}: not in the policy.",
            f"Roles are {', '.join(sorted(policy.roles))}.",
        )


def _require_own(subject: str, grants: Iterable[str], caller: Principal) -> None:
    """Nobody hands out, or takes over, more than one has."""
    missing = [grant for grant in grants if not is_within(grant, caller.grants)]
    if missing:
        raise Forbidden(
            f"{subject} would be able to do more than you: {', '.join(missing[:5])}.",
            "Ask somebody who has these rights.",
        )


def _require_administrator(draft: SecurityDraft, before: UserRecord, after: UserRecord | None) -> None:
    """Somebody has to be left who can let others in."""
    if not _is_administrator(before) or (after is not None and _is_administrator(after)):
        return
    if not any(_is_administrator(other) for name, other in draft.all(UserRecord) if name != before.user):
        raise Conflict(
            f"{before.user} is the last active administrator.", "Make somebody else an administrator first."
        )


def _is_administrator(record: UserRecord) -> bool:
    return record.is_active and ADMINISTRATOR in record.roles


def _end_everything(draft: SecurityDraft, subject: str) -> None:
    draft.revoke(
        Revocation(
            kind="subject", value=subject, before_s=draft.now_s, until_s=draft.now_s + _LONGEST_TOKEN_S
        )
    )


def _tell(
    draft: SecurityDraft,
    caller: Principal,
    reason: str,
    user: str,
    request_id: str,
    *,
    roles: tuple[str, ...] | None = None,
    is_active: bool | None = None,
) -> None:
    details = {} if roles is None else {"roles": " ".join(roles)}
    if is_active is not None:
        details["is_active"] = str(is_active).lower()
    draft.tell(
        AuditFact(
            kind="people",
            subject=caller.subject,
            target=subject_of(user),
            reason=reason,
            address=caller.address,
            request_id=request_id,
            details=details,
        )
    )
