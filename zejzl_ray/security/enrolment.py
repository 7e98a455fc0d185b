"""New machines: anybody may ask, nobody is in before somebody has compared the code on both screens.

The machine makes its credential itself and sends the digest of the secret part. The credential's id is the beginning
of that digest, so both sides know it; the code for the eyes is the beginning of the id.
"""

import math
from typing import ClassVar, Final, Literal, NamedTuple

from pydantic import Field, SecretStr

from zejzl_ray.auth.addresses import caller_of
from zejzl_ray.auth.credential_text import code_of, is_same, new_credential, own_id, require_text
from zejzl_ray.commands.records import Record
from zejzl_ray.contracts.access import Principal
from zejzl_ray.contracts.policy import Policy
from zejzl_ray.contracts.tokens import DecideEnrolment, Enrolment, RequestEnrolment
from zejzl_ray.errors import Conflict, NotFound, Overloaded
from zejzl_ray.security.credentials import CredentialRecord, check_rights, check_room, put
from zejzl_ray.security.draft import AuditFact, SecurityDraft

MAX_WAITING: Final = 32
MAX_WAITING_OF_ADDRESS: Final = 8
"""Requests that may wait from one address outside of the cluster, so that one caller cannot take all places."""
WAITING_S: Final = 3600.0
_LABEL_CHARACTERS: Final = 128


class MachineCredential(NamedTuple):
    """What a machine makes before it asks to be let in.

    Attributes:
        text: the credential; stays on the machine.
        secret_digest: what is sent.
        code: what the machine shows on its screen.
    """

    text: SecretStr
    secret_digest: str
    code: str


class EnrolmentRecord(Record):
    """A machine's request, under the machine's name; forgotten an hour after it was made, or when it is approved."""

    KIND: ClassVar[str] = "enrolment"

    machine: str
    credential_id: str
    secret_digest: str = Field(repr=False)
    state: Literal["pending", "refused"] = "pending"
    requested_at_s: float
    expires_at_s: float
    address: str = ""

    def wire(self) -> Enrolment:
        """Return what may be shown."""
        return Enrolment(
            machine=self.machine,
            credential_id=self.credential_id,
            code=code_of(self.secret_digest),
            state=self.state,
            requested_at_s=self.requested_at_s,
            expires_at_s=self.expires_at_s,
        )


def new_machine_credential() -> MachineCredential:
    """Return a new credential, the digest to ask with, and the code to show; for the machine's side."""
    text = new_credential()
    digest = require_text(text).digest
    return MachineCredential(text, digest, code_of(digest))


def decide_request(draft: SecurityDraft, request: RequestEnrolment, caller: Principal) -> Enrolment:
    """Note that a machine wants to be let in; asking again with the same digest returns the state.

    Raises:
        Conflict: the name waits with another digest, or a machine of this name is in.
        Overloaded: too many requests wait; those that wait stay.
    """
    waiting = draft.get(EnrolmentRecord, request.machine)
    if waiting is not None and is_same(waiting.secret_digest, request.secret_digest):
        return waiting.wire()
    known = draft.get(CredentialRecord, own_id(request.secret_digest))
    if known is not None:
        return _state_of(draft, known, request)
    if waiting is not None and waiting.state == "pending":
        raise _taken(request.machine)
    _check_room(draft, caller.address)
    if _active_of(draft, request.machine) is not None:
        raise _taken(request.machine)
    return _note(draft, request, caller)


def decide_decision(
    draft: SecurityDraft, request: DecideEnrolment, caller: Principal, policy: Policy
) -> Enrolment:
    """Let a waiting machine in, or refuse it. Repeating the same decision changes nothing.

    Raises:
        NotFound: no machine of this name waits with this code.
        Conflict: it was decided otherwise before, or a machine of this name is in.
        Forbidden: the machine would have a right that the caller lacks.
        NoCapacity: too many credentials.
    """
    digits = request.code.replace("-", "").strip().lower()
    waiting = draft.get(EnrolmentRecord, request.machine)
    if waiting is None or not _is_code(waiting.secret_digest, digits):
        approved = _active_of(draft, request.machine)
        if (
            approved is not None
            and approved.origin == "enrolled"
            and _is_code(approved.secret_digest, digits)
        ):
            return _approved(approved, request)
        raise NotFound(
            f"No machine {request.machine} waits with this code.", "Compare the code on the machine's screen."
        )
    if waiting.state == "refused":
        if request.is_approved:
            raise Conflict(f"The request of {request.machine} was refused.", "Have the machine ask again.")
        return waiting.wire()
    record = draft.get(CredentialRecord, waiting.credential_id)
    if record is None or not record.is_pending:
        raise Conflict(f"The request of {request.machine} is over.", "Have the machine ask again.")
    if not request.is_approved:
        return _refuse(draft, waiting, request, caller)
    check_rights(record.subject, record.roles, record.scopes, caller, policy)
    if _active_of(draft, request.machine) is not None:
        raise Conflict(
            f"The machine {request.machine} has a credential already.",
            "Revoke it before another machine of this name is let in.",
        )
    check_room(draft)
    record = record.model_copy(
        update={
            "is_pending": False, "expires_at_s": None, "created_at_s": draft.now_s, "created_by": caller.subject,
        }
    )  # fmt: skip
    put(draft, record)
    draft.delete(EnrolmentRecord, request.machine)
    _tell(draft, caller, "decide_enrolment", waiting, request.request_id, outcome="approved")
    return _approved(record, request)


def _note(draft: SecurityDraft, request: RequestEnrolment, caller: Principal) -> Enrolment:
    expires_at_s = draft.now_s + WAITING_S
    waiting = EnrolmentRecord(
        machine=request.machine,
        credential_id=own_id(request.secret_digest),
        secret_digest=request.secret_digest,
        requested_at_s=draft.now_s,
        expires_at_s=expires_at_s,
        address=caller.address,
    )
    record = CredentialRecord(
        credential_id=waiting.credential_id,
        subject=f"machine:{request.machine}",
        label=request.note[:_LABEL_CHARACTERS],
        created_at_s=draft.now_s,
        expires_at_s=expires_at_s,
        origin="enrolled",
        is_pending=True,
        secret_digest=request.secret_digest,
    )
    draft.put(request.machine, waiting, expires_at_s)
    draft.put(record.credential_id, record, expires_at_s)
    _tell(draft, caller, "request_enrolment", waiting, request.request_id, outcome="pending")
    return waiting.wire()


def _refuse(
    draft: SecurityDraft, waiting: EnrolmentRecord, request: DecideEnrolment, caller: Principal
) -> Enrolment:
    draft.delete(CredentialRecord, waiting.credential_id)
    waiting = waiting.model_copy(update={"state": "refused"})
    draft.put(waiting.machine, waiting, waiting.expires_at_s)
    _tell(draft, caller, "decide_enrolment", waiting, request.request_id, outcome="refused")
    return waiting.wire()


def _state_of(draft: SecurityDraft, known: CredentialRecord, request: RequestEnrolment) -> Enrolment:
    """Answer a machine whose credential is kept already; nobody but it knows the whole digest."""
    is_its_own = known.subject == f"machine:{request.machine}" and known.origin == "enrolled"
    if not is_its_own or not is_same(known.secret_digest, request.secret_digest):
        raise _taken(request.machine)
    return Enrolment(
        machine=request.machine,
        credential_id=known.credential_id,
        code=code_of(request.secret_digest),
        state="approved" if known.is_active(draft.now_s) else "refused",
        requested_at_s=known.created_at_s,
    )


def _approved(record: CredentialRecord, request: DecideEnrolment) -> Enrolment:
    if not request.is_approved:
        raise Conflict(
            f"The machine {request.machine} was let in already.", "Revoke its credential to shut it out."
        )
    return Enrolment(
        machine=request.machine,
        credential_id=record.credential_id,
        code=code_of(record.secret_digest),
        state="approved",
        requested_at_s=record.created_at_s,
    )


def _check_room(draft: SecurityDraft, address: str) -> None:
    """Bound what strangers can make. A refused request makes room: only an administrator can make one."""
    kept = [waiting for _, waiting in draft.all(EnrolmentRecord) if waiting.state == "pending"]
    where = caller_of(address)
    of_address = sum(caller_of(waiting.address) == where for waiting in kept) if where else 0
    if len(kept) >= MAX_WAITING or of_address >= MAX_WAITING_OF_ADDRESS:
        longest_s = max(0.0, min(waiting.expires_at_s for waiting in kept) - draft.now_s)
        raise Overloaded(
            "Too many machines wait to be let in.",
            f"Have an administrator decide about those that wait, or ask again in {math.ceil(longest_s / 60)} min.",
        )


def _active_of(draft: SecurityDraft, machine: str) -> CredentialRecord | None:
    subject = f"machine:{machine}"
    return next(
        (
            record
            for _, record in draft.all(CredentialRecord)
            if record.subject == subject and record.is_active(draft.now_s)
        ),
        None,
    )


def _is_code(digest: str, digits: str) -> bool:
    return is_same(code_of(digest).replace("-", ""), digits)


def _taken(machine: str) -> Conflict:
    return Conflict(
        f"The name {machine} is taken.", "Choose another name, or ask an administrator to free this one."
    )


def _tell(
    draft: SecurityDraft,
    caller: Principal,
    operation: str,
    waiting: EnrolmentRecord,
    request_id: str,
    *,
    outcome: str,
) -> None:
    draft.tell(
        AuditFact(
            kind="enrolment", subject=caller.subject, operation=f"security_gateway.{operation}",
            target=f"machine:{waiting.machine}", outcome=outcome, address=caller.address, request_id=request_id,
            details={"credential_id": waiting.credential_id, "code": code_of(waiting.secret_digest)},
        )
    )  # fmt: skip
