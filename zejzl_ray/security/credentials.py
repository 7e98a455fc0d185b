"""Long-lived credentials: made, found, listed, revoked. What is kept of them does not let anybody in."""

from typing import Final

from pydantic import SecretStr

from zejzl_ray.auth.credential_text import format_text, is_same, parse_text, secret_digest
from zejzl_ray.auth.scopes import is_within, narrowed
from zejzl_ray.commands.records import RecordDraft, Records
from zejzl_ray.contracts.access import Principal
from zejzl_ray.contracts.policy import Policy, RatePolicy
from zejzl_ray.contracts.tokens import (
    CreateCredential,
    CredentialPage,
    ListCredentials,
    NewCredential,
    RevokeCredential,
    Revoked,
)
from zejzl_ray.errors import Conflict, Forbidden, InvalidInput, NoCapacity, NotFound
from zejzl_ray.security.at_rest import MasterKeys
from zejzl_ray.security.credential_records import CredentialRecord, end, end_of_subject, get, note_use, put
from zejzl_ray.security.draft import AuditFact, SecurityDraft
from zejzl_ray.security.permissions import grants_of
from zejzl_ray.security.user_record import UserRecord

__all__ = [
    "CredentialRecord", "check_rights", "check_room", "decide_create", "decide_list", "decide_revoke", "end",
    "end_of_subject", "find_active", "find_by_text", "get", "note_use", "put", "rates", "scopes_in_force",
]  # fmt: skip

MAX_ACTIVE: Final = 10_000
MAX_KEPT: Final = 20_000
"""With those that have ended; above it the oldest ended ones go first."""
LONGEST_S: Final = 10 * 366 * 86_400.0

_NO_DIGEST: Final = "0" * 64
_PERSON: Final = "user:"
_BURST_SHARE: Final = 10


def decide_create(
    draft: SecurityDraft,
    request: CreateCredential,
    caller: Principal,
    policy: Policy,
    master: MasterKeys,
    secret_hex: str,
    credential_id: str,
) -> NewCredential:
    """Make a credential.

    Args:
        draft: what is changed.
        request: for whom, with what rights.
        caller: who makes it; nobody gives more than they hold.
        policy: in force.
        master: encrypts a signing secret.
        secret_hex: new random secret, 64 hexadecimal digits.
        credential_id: new random id, 16 hexadecimal digits.

    Raises:
        Forbidden: the subject would have a right that the caller lacks.
        InvalidInput: unknown role, a role or scope that the person does not have, a service as subject, or too long a
            life.
        NotFound: there is no such person.
        NoCapacity: too many credentials.
        Conflict: the id is taken.
    """
    roles = _roles_for(draft, request)
    check_rights(request.subject, roles, request.scopes, caller, policy)
    _check_scopes(draft, request, policy)
    # Its maker may know its text: what the person may do later on is not for the maker to have.
    are_roles_fixed = request.subject.startswith(_PERSON) and caller.subject != request.subject
    if request.lifetime_s is not None and request.lifetime_s > LONGEST_S:
        raise InvalidInput(
            "A credential lives 10 years at most.", "Leave the lifetime out for one that has no end."
        )
    if draft.get(CredentialRecord, credential_id) is not None:
        raise Conflict(f"There is a credential {credential_id} already.", "Try again.")
    secret = SecretStr(secret_hex)
    text = format_text(credential_id, secret)  # refuses parts of another form
    check_room(draft)
    record = CredentialRecord(
        credential_id=credential_id,
        subject=request.subject,
        label=request.label,
        roles=roles if are_roles_fixed else request.roles,
        are_roles_fixed=are_roles_fixed,
        scopes=request.scopes,
        created_at_s=draft.now_s,
        created_by=caller.subject,
        expires_at_s=None if request.lifetime_s is None else draft.now_s + request.lifetime_s,
        calls_per_minute=request.calls_per_minute,
        secret_digest="" if request.is_signing else secret_digest(secret),
    )
    if request.is_signing:
        sealed = master.encrypt(record.place, bytes.fromhex(secret_hex))
        record = record.model_copy(update={"signing_secret": sealed})
    put(draft, record)
    draft.are_limits_changed |= request.calls_per_minute is not None
    details = {
        "subject": request.subject,
        "label": request.label,
        "roles": " ".join(request.roles),
        "kind": "signing" if request.is_signing else "text",
    }
    _tell(draft, caller, "create_credential", credential_id, request.request_id, details=details)
    return NewCredential(credential=record.wire(draft.now_s), secret=secret if request.is_signing else text)


def decide_list(draft: SecurityDraft, request: ListCredentials, caller: Principal) -> CredentialPage:
    """List credentials in the order of their ids, machines that wait among them; changes nothing."""
    part = request.label.casefold()
    found = sorted(
        (
            record
            for _, record in draft.all(CredentialRecord)
            if _is_asked_for(record, request, part, draft.now_s)
        ),
        key=lambda record: record.credential_id,
    )
    page = found[: request.limit]
    return CredentialPage(
        credentials=tuple(record.wire(draft.now_s) for record in page),
        next_cursor=page[-1].credential_id if len(found) > len(page) else "",
    )


def decide_revoke(draft: SecurityDraft, request: RevokeCredential, caller: Principal) -> Revoked:
    """End a credential and the tokens that came from it; one that has ended stays as it is.

    ``feed_revision`` of the answer is left 0, the service knows it once the commit is made.

    Raises:
        NotFound: there is no such credential.
        Conflict: it belongs to a machine that waits for approval.
    """
    record = draft.get(CredentialRecord, request.credential_id)
    if record is None:
        raise NotFound(f"There is no credential {request.credential_id}.", "List them for the ids.")
    if record.is_pending:
        raise Conflict(
            f"The credential {request.credential_id} waits for approval.",
            "Refuse the machine's request instead.",
        )
    was_active = record.is_active(draft.now_s)
    if record.ended_at_s is None:
        end(draft, record, request.reason or "revoked")
        _tell(
            draft, caller, "revoke_credential", record.credential_id, request.request_id,
            kind="revoked", reason=request.reason, details={"subject": record.subject},
        )  # fmt: skip
    return Revoked(feed_revision=0, ended_credentials=int(was_active))


def find_by_text(
    source: Records | RecordDraft, text: str | SecretStr, now_s: float
) -> CredentialRecord | None:
    """Return the active credential that a text proves, as ``find_active`` does; null for anything else."""
    parts = parse_text(text)
    if parts is None:
        return None
    record = find_active(source, parts.credential_id, now_s)
    known = record.secret_digest if record is not None and record.secret_digest else _NO_DIGEST
    is_right = is_same(parts.digest, known)  # also without a record: the time tells nothing
    return record if is_right else None


def find_active(source: Records | RecordDraft, credential_id: str, now_s: float) -> CredentialRecord | None:
    """Return a credential that counts, with the roles that it has at the moment; null when there is none.

    That of a person counts while the account is open, and never has a role that the account has not. One that the
    person made without roles has the account's, whatever they are at the moment; one that somebody else made has those
    that its maker could answer for then. One look-up by id, another by the person's name.
    """
    record = get(source, credential_id, now_s)
    if record is None or not record.is_active(now_s):
        return None
    if not record.subject.startswith(_PERSON):
        return record
    account = _account(source, record.subject, now_s)
    # A credential of somebody of the same name who was removed before does not count for the new one.
    if account is None or not account.is_active or record.created_at_s < account.created_at_s:
        return None
    own = record.roles if record.roles or record.are_roles_fixed else account.roles
    roles = tuple(role for role in own if role in account.roles)
    return record.model_copy(update={"roles": roles})


def scopes_in_force(source: RecordDraft, record: CredentialRecord, policy: Policy) -> tuple[str, ...]:
    """Return what a credential allows beyond its roles: of a person's, never more than the account allows now."""
    if not record.scopes or not record.subject.startswith(_PERSON):
        return record.scopes
    account = _account(source, record.subject, source.now_s)
    if account is None:
        return ()
    return narrowed(record.scopes, grants_of(record.subject, account.roles, policy))


def rates(source: SecurityDraft) -> dict[str, RatePolicy]:
    """Return the subjects with a limit of their own: the strictest of their active credentials.

    A tenth of a minute's calls may come within one second.
    """
    strictest: dict[str, int] = {}
    for _, record in source.all(CredentialRecord):
        if record.calls_per_minute is not None and record.is_active(source.now_s):
            known = strictest.get(record.subject, record.calls_per_minute)
            strictest[record.subject] = min(known, record.calls_per_minute)
    return {
        subject: RatePolicy(burst_per_s=max(1, calls // _BURST_SHARE), sustained_per_min=calls)
        for subject, calls in strictest.items()
    }


def check_rights(
    subject: str, roles: tuple[str, ...], scopes: tuple[str, ...], caller: Principal, policy: Policy
) -> None:
    """Refuse a credential that could do what its maker may not.

    Raises:
        Forbidden: names the first right that the caller lacks.
        InvalidInput: an unknown role, or a service, which gets its credential from the cluster.
    """
    if subject.startswith("service:"):
        raise InvalidInput(
            "Services of the cluster have credentials of their own.",
            "Use program:NAME for an outside program.",
        )
    unknown = [role for role in roles if role not in policy.roles]
    if unknown:
        raise InvalidInput(
            f"The policy has no role {unknown[0]}.", f"It has {', '.join(sorted(policy.roles))}."
        )
    for grant in grants_of(subject, roles, policy, scopes):
        if not is_within(grant, caller.grants):
            raise Forbidden(
                f"{subject} would have the right {grant}, which you do not have.",
                "Ask somebody who has it, or give fewer roles and scopes.",
            )


def check_room(draft: SecurityDraft) -> None:
    """Make sure that one more credential fits, and let the oldest ended ones go.

    Raises:
        NoCapacity: too many are active.
    """
    records = [record for _, record in draft.all(CredentialRecord)]
    if sum(record.is_active(draft.now_s) for record in records) >= MAX_ACTIVE:
        raise NoCapacity(f"There are {MAX_ACTIVE} active credentials.", "Revoke those that nobody uses.")
    surplus = len(records) + 1 - MAX_KEPT
    for record in records if surplus > 0 else ():
        if surplus > 0 and record.ended_at_s is not None and record.origin != "administrator":
            draft.delete(CredentialRecord, record.credential_id)
            surplus -= 1


def _roles_for(draft: SecurityDraft, request: CreateCredential) -> tuple[str, ...]:
    """Return the roles that the new credential will have beyond those of its kind."""
    if not request.subject.startswith(_PERSON):
        return request.roles
    account = _account(draft, request.subject, draft.now_s)
    if account is None or not account.is_active:
        raise NotFound(f"There is no open account of {request.subject}.", "Make one with `zejzl users`.")
    foreign = [role for role in request.roles if role not in account.roles]
    if foreign:
        raise InvalidInput(
            f"{request.subject} does not have the role {foreign[0]}.", "Give the person the role first."
        )
    return request.roles or account.roles


def _check_scopes(draft: SecurityDraft, request: CreateCredential, policy: Policy) -> None:
    """Refuse scopes that a person does not have: they would not count."""
    account = _account(draft, request.subject, draft.now_s) if request.subject.startswith(_PERSON) else None
    if account is None:
        return
    held = grants_of(request.subject, account.roles, policy)
    foreign = [scope for scope in request.scopes if not is_within(scope, held)]
    if foreign:
        raise InvalidInput(
            f"{request.subject} does not have the right {foreign[0]}.",
            "Give the person a role with it first.",
        )


def _account(source: Records | RecordDraft, subject: str, now_s: float) -> UserRecord | None:
    name = subject.removeprefix(_PERSON)
    if isinstance(source, RecordDraft):
        return source.get(UserRecord, name)
    return source.get(UserRecord, name, now_s)


def _is_asked_for(record: CredentialRecord, request: ListCredentials, part: str, now_s: float) -> bool:
    return (
        record.credential_id > request.cursor
        and (request.subject is None or record.subject == request.subject)
        and part in record.label.casefold()
        and (record.is_active(now_s) or not request.is_active_only)
    )


def _tell(
    draft: SecurityDraft,
    caller: Principal,
    operation: str,
    target: str,
    request_id: str,
    *,
    kind: str = "credential",
    reason: str = "",
    details: dict[str, str],
) -> None:
    draft.tell(
        AuditFact(
            kind=kind, subject=caller.subject, operation=f"security_gateway.{operation}", target=target, reason=reason,
            address=caller.address, request_id=request_id, details=details,
        )
    )  # fmt: skip
