"""The administrator whose credential is a file in the data directory; there is one such credential at a time."""

from typing import Final

from zejzl_ray.auth.credential_text import is_same
from zejzl_ray.contracts.access import Principal
from zejzl_ray.contracts.tokens import Credential, EnsureAdministrator
from zejzl_ray.errors import Conflict
from zejzl_ray.security.credentials import CredentialRecord, check_room, end, put
from zejzl_ray.security.draft import AuditFact, SecurityDraft
from zejzl_ray.security.people import ADMINISTRATOR
from zejzl_ray.security.user_record import UserRecord

ROLE: Final = "admin"
_LABEL: Final = "the administrator's file"


def decide_ensure(draft: SecurityDraft, request: EnsureAdministrator, caller: Principal) -> Credential:
    """Make the user ``admin`` if there is none, and its file's credential the only one of its kind.

    The user made this way has no password. An earlier file's credential is revoked. Safe to repeat.

    Raises:
        Conflict: this very credential was revoked, or the id belongs to another one.
        NoCapacity: too many credentials.
    """
    known = draft.get(CredentialRecord, request.credential_id)
    if known is not None:
        _require_usable(known, request, draft.now_s)
    else:
        check_room(draft)
    _ensure_user(draft, request, caller)
    account = draft.get(UserRecord, ADMINISTRATOR)
    assert account is not None  # made above
    for _, earlier in list(draft.all(CredentialRecord)):
        is_other = earlier.credential_id != request.credential_id
        if is_other and earlier.origin == "administrator" and earlier.is_active(draft.now_s):
            end(draft, earlier, "replaced by another file")
            _tell(draft, request, caller, earlier.credential_id, "replaced")
    if known is not None and known.created_at_s >= account.created_at_s:
        return known.wire(draft.now_s)
    # also when the user was removed and made anew: what was made for the one before does not count for this one
    record = CredentialRecord(
        credential_id=request.credential_id,
        subject=f"user:{ADMINISTRATOR}",
        label=_LABEL,
        roles=(ROLE,),
        created_at_s=draft.now_s,
        created_by=caller.subject,
        origin="administrator",
        secret_digest=request.secret_digest,
    )
    put(draft, record)
    _tell(draft, request, caller, request.credential_id, "made")
    return record.wire(draft.now_s)


def _require_usable(known: CredentialRecord, request: EnsureAdministrator, now_s: float) -> None:
    is_the_file = known.origin == "administrator" and is_same(known.secret_digest, request.secret_digest)
    if not is_the_file:
        raise Conflict(
            f"The credential {request.credential_id} is not the administrator's.",
            "Remove the file `token` in the data directory and run `zejzl up` again.",
        )
    if not known.is_active(now_s):
        raise Conflict(
            "The administrator's credential in the file `token` was revoked.",
            "Remove that file in the data directory and run `zejzl up` again, which makes a new one.",
        )


def _ensure_user(draft: SecurityDraft, request: EnsureAdministrator, caller: Principal) -> None:
    if draft.get(UserRecord, ADMINISTRATOR) is not None:
        return
    user = UserRecord(user=ADMINISTRATOR, roles=(ROLE,), created_at_s=draft.now_s, created_by=caller.subject)
    draft.put(ADMINISTRATOR, user)
    draft.tell(
        AuditFact(
            kind="people", subject=caller.subject, operation="security_gateway.ensure_administrator",
            target=f"user:{ADMINISTRATOR}", outcome="created", address=caller.address,
            request_id=request.request_id, details={"roles": ROLE},
        )
    )  # fmt: skip


def _tell(
    draft: SecurityDraft, request: EnsureAdministrator, caller: Principal, credential_id: str, outcome: str
) -> None:
    draft.tell(
        AuditFact(
            kind="credential" if outcome == "made" else "revoked", subject=caller.subject,
            operation="security_gateway.ensure_administrator", target=credential_id, outcome=outcome,
            address=caller.address, request_id=request.request_id, details={"subject": f"user:{ADMINISTRATOR}"},
        )
    )  # fmt: skip
