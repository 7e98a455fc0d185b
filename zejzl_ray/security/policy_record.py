"""The policy in force: the shipped one until another is set, kept with since when and from where."""

from typing import ClassVar, Final

from zejzl_ray.auth.scopes import is_within
from zejzl_ray.commands.records import Record, RecordDraft
from zejzl_ray.contracts.access import Principal
from zejzl_ray.contracts.policy import Policy, PolicyInForce, SetPolicy
from zejzl_ray.errors import Forbidden
from zejzl_ray.security.credential_records import CredentialRecord
from zejzl_ray.security.draft import AuditFact, SecurityDraft
from zejzl_ray.security.permissions import grants_of, shrunk_subjects
from zejzl_ray.security.policy_check import check_policy
from zejzl_ray.security.policy_file import refusal
from zejzl_ray.security.revoking import Revoker
from zejzl_ray.security.sessions import Sessions
from zejzl_ray.security.user_record import UserRecord
from zejzl_ray.security.user_record import subject_of as subject_of_user

_KEY: Final = "current"
_OPERATION: Final = "security_gateway.set_policy"
# Of the cluster's own services and machines nothing is stored: their credentials follow from the master key.
_WITHOUT_RECORDS: Final = ("service:any", "machine:any")
_SHRUNK: Final = "the policy gives less than before"


class PolicyRecord(Record):
    """A policy that was set."""

    KIND: ClassVar[str] = "policy"

    policy: Policy
    revision: int
    since_s: float
    source: str = ""


class PolicyKeeper:
    """Says which policy is in force, and puts another one in force.

    Args:
        default: in force until one is set; its revision is 0.
    """

    def __init__(self, default: Policy) -> None:
        self._default = PolicyRecord(policy=default, revision=0, since_s=0.0, source="as shipped")

    def current(self, draft: RecordDraft) -> PolicyRecord:
        """Return the policy in force; the same object until another one is set."""
        return draft.get(PolicyRecord, _KEY) or self._default

    def wire(self, draft: RecordDraft) -> PolicyInForce:
        """Return the policy in force, since when and from where."""
        record = self.current(draft)
        return PolicyInForce(
            policy=record.policy, revision=record.revision, since_s=record.since_s, source=record.source
        )

    def decide_set(
        self,
        draft: SecurityDraft,
        request: SetPolicy,
        caller: Principal,
        sessions: Sessions,
        revoker: Revoker,
    ) -> PolicyInForce:
        """Put a policy in force; what was issued to subjects whose rights shrink ends, other things stay.

        Raises:
            InvalidInput: the policy contradicts itself, or takes from the system what it needs; names every place.
            Forbidden: the policy would give somebody a right that the caller does not have.
        """
        before = self.current(draft)
        if request.policy == before.policy:
            return self.wire(draft)
        errors = [problem for problem in check_policy(request.policy) if problem.is_error]
        if errors:
            raise refusal(errors)
        _require_own(before.policy, request.policy, caller)
        record = PolicyRecord(
            policy=request.policy, revision=before.revision + 1, since_s=draft.now_s, source=request.source
        )
        known = [*((subject, ()) for subject in _WITHOUT_RECORDS), *_known_subjects(draft)]
        shrunk = shrunk_subjects(before.policy, request.policy, known)
        draft.put(_KEY, record)
        draft.are_limits_changed = True
        for subject in shrunk:
            sessions.decide_end_all(draft, subject, _SHRUNK)
            draft.revoke(revoker.subject(subject, draft.now_s))
        if any(subject in shrunk for subject in _WITHOUT_RECORDS):
            # Of whom there is no list, everybody gets new tokens.
            draft.revoke(revoker.all_before(draft.now_s))
        draft.tell(
            AuditFact(
                "policy",
                subject=caller.subject,
                operation=_OPERATION,
                target=f"revision {record.revision}",
                reason=request.source,
                address=caller.address,
                request_id=request.request_id,
                details={"shrunk": ", ".join(shrunk)[:500]} if shrunk else {},
            )
        )
        return self.wire(draft)


def _known_subjects(draft: SecurityDraft) -> list[tuple[str, tuple[str, ...]]]:
    people = [(subject_of_user(user.user), user.roles) for _, user in draft.all(UserRecord)]
    credentials = [
        (record.subject, record.roles)
        for _, record in draft.all(CredentialRecord)
        if record.is_active(draft.now_s)
    ]
    return people + credentials


def _require_own(before: Policy, after: Policy, caller: Principal) -> None:
    """Nobody gives by a policy what one does not have."""
    names = [f"{kind}:any" for kind in after.kinds] + list(after.subjects)
    who: list[tuple[str, tuple[str, ...]]] = [(name, ()) for name in names]
    who += [("user:any", (role,)) for role in after.roles]
    for subject, roles in who:
        held = grants_of(subject, roles, before)
        for grant in grants_of(subject, roles, after):
            if not is_within(grant, held) and not is_within(grant, caller.grants):
                raise Forbidden(
                    f"The policy would give {grant} to {', '.join(roles) or subject}, and you do not have it.",
                    "Ask somebody who has it.",
                )
