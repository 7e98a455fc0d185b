"""Trust: evidence comes in, a score and a standing come out, and every change has a reason and a way back.

Evidence is what others saw of an agent or a machine. A refused call is none: otherwise a subject that is restricted
would be refused, sink further for it, and never come back.
"""

import heapq
from collections.abc import Iterable
from typing import Final

from zejzl_ray.commands.records import RecordDraft
from zejzl_ray.contracts.access import GOOD_STANDING, Principal, Standing
from zejzl_ray.contracts.policy import TrustPolicy
from zejzl_ray.contracts.trust import (
    Evidence,
    EvidenceAccepted,
    GetTrust,
    GetTrustHistory,
    ListTrust,
    ReportEvidence,
    ResetTrust,
    Trust,
    TrustHistory,
    TrustList,
    TrustPoint,
)
from zejzl_ray.errors import Forbidden, InvalidInput, NotFound
from zejzl_ray.security.draft import AuditFact, SecurityDraft
from zejzl_ray.security.trust_records import (
    TrustRecord,
    add_point,
    is_first,
    make_room,
    points_of,
)
from zejzl_ray.security.trust_score import decayed, level_of, observe, score_of
from zejzl_ray.security.trust_standing import is_same, standing_at, standing_of, view, view_of_unknown

__all__ = [
    "decide_due",
    "decide_report_evidence",
    "decide_reset",
    "due_standings",
    "get",
    "history",
    "list_page",
    "standing_of",
]

_SCORED_KINDS: Final = ("agent", "machine")
_OLDEST_S: Final = 30 * 86_400.0  # evidence that is older counts as of then: for as good as nothing
_DECAY: Final = "time has passed"


def decide_report_evidence(
    draft: SecurityDraft, request: ReportEvidence, caller: Principal, policy: TrustPolicy
) -> EvidenceAccepted:
    """Count evidence into the scores, each piece once.

    A time that is still to come counts as now, and one that is more than 30 days ago as 30 days ago.

    Raises:
        InvalidInput: evidence about something other than an agent or a machine.
        Forbidden: somebody reports on itself.
        Overloaded: too many subjects.
    """
    for index, each in enumerate(request.evidence):
        _require_scored(each.subject, f"evidence.{index}")
        if each.subject == caller.subject:
            raise Forbidden(f"{caller.subject} may not report on itself.", "Let whoever called it report.")
    by_subject: dict[str, list[Evidence]] = {}
    for each in request.evidence:
        by_subject.setdefault(each.subject, []).append(each)
    unknown = sum(draft.get(TrustRecord, subject) is None for subject in by_subject)
    make_room(draft, unknown, by_subject, policy)
    subjects = draft.count(TrustRecord) + unknown
    accepted = sum(
        _count(draft, subject, evidence, caller, request, policy, subjects)
        for subject, evidence in by_subject.items()
    )
    return EvidenceAccepted(accepted=accepted, repeated=len(request.evidence) - accepted)


def decide_reset(draft: SecurityDraft, request: ResetTrust, caller: Principal, policy: TrustPolicy) -> Trust:
    """Forget what was seen of a subject; its history stays, with the pardon and its reason in it. Safe to repeat.

    Raises:
        Forbidden: somebody pardons itself.
        NotFound: nothing was ever seen of it.
    """
    if request.subject == caller.subject:
        raise Forbidden(f"{caller.subject} may not reset its own trust.", "Ask an operator.")
    record = draft.get(TrustRecord, request.subject)
    if record is None:
        raise NotFound(f"Nothing is known of {request.subject}.", "See `zejzl trust list`.")
    reason = f"reset by {caller.subject}: {request.reason}"[:256]
    forgotten = record.model_copy(
        update={"samples": 0.0, "successes": 0.0, "timed": 0.0, "slowness": 0.0, "at_s": draft.now_s}
    )
    standing = standing_at(forgotten, policy, draft.now_s, level_of(policy.prior, None, policy), reason)
    point = TrustPoint(at_s=draft.now_s, score=standing.score, level=standing.level, reason=reason)
    add_point(draft, request.subject, record.points, point, draft.count(TrustRecord))
    changed = _put(draft, forgotten, standing, points=record.points + 1, reason=reason)
    draft.tell(
        AuditFact(
            kind="trust",
            subject=caller.subject,
            operation="security_gateway.reset_trust",
            target=request.subject,
            reason=request.reason,
            address=caller.address,
            request_id=request.request_id,
            details={"level": f"{record.standing.level} -> {standing.level}"},
        )
    )
    return view(changed, policy, draft.now_s)


def get(draft: RecordDraft, request: GetTrust, policy: TrustPolicy) -> Trust:
    """Return a subject's trust; of an unknown one the prior, said to be unknown.

    Raises:
        InvalidInput: the subject is neither an agent nor a machine.
    """
    _require_scored(request.subject, "subject")
    record = draft.get(TrustRecord, request.subject)
    return view_of_unknown(request.subject, policy) if record is None else view(record, policy, draft.now_s)


def list_page(draft: RecordDraft, request: ListTrust, policy: TrustPolicy) -> TrustList:
    """Return scores as they are now, lowest first."""
    now_s = draft.now_s
    scored = (
        (score_of(decayed(record.seen, now_s, policy), policy).score, subject, record)
        for subject, record in draft.all(TrustRecord)
    )
    lowest = heapq.nsmallest(request.limit, scored, key=lambda each: each[:2])
    return TrustList(trust=tuple(view(record, policy, now_s) for _, _, record in lowest))


def history(draft: RecordDraft, request: GetTrustHistory) -> TrustHistory:
    """Return the last points of a subject, newest first; none of one that is unknown.

    Raises:
        InvalidInput: the subject is neither an agent nor a machine.
    """
    _require_scored(request.subject, "subject")
    points = sorted(points_of(draft, request.subject), key=lambda each: each.number, reverse=True)
    return TrustHistory(subject=request.subject, points=tuple(each.point for each in points[: request.limit]))


def due_standings(
    draft: RecordDraft, policy: TrustPolicy, *, is_policy_new: bool = False
) -> tuple[Standing, ...]:
    """Return the standings that are different now although nobody reported anything; changes nothing.

    Args:
        draft: for reading.
        policy: in force.
        is_policy_new: look at every subject. Else those in normal standing are passed over: time takes a score to the
            prior, which is normal.
    """
    due = (
        (record.standing, standing_of(record, policy, draft.now_s))
        for _, record in draft.all(TrustRecord)
        if is_policy_new or not is_same(record.standing, GOOD_STANDING)
    )
    return tuple(now for before, now in due if not is_same(before, now))


def decide_due(draft: SecurityDraft, standings: Iterable[Standing], policy: TrustPolicy) -> int:
    """Put in force what ``due_standings`` has found, where it still holds; return how many changed."""
    changed = 0
    subjects = draft.count(TrustRecord)
    for found in standings:
        record = draft.get(TrustRecord, found.subject)
        if record is None:
            continue
        standing = standing_of(record, policy, draft.now_s)
        if is_same(record.standing, standing):
            continue
        point = TrustPoint(at_s=draft.now_s, score=standing.score, level=standing.level, reason=_DECAY)
        add_point(draft, record.subject, record.points, point, subjects)
        _tell_change(draft, record, standing, _DECAY)
        _put(draft, record, standing, points=record.points + 1, reason=record.last_reason)
        changed += 1
    return changed


def _count(
    draft: SecurityDraft,
    subject: str,
    evidence: Iterable[Evidence],
    caller: Principal,
    request: ReportEvidence,
    policy: TrustPolicy,
    subjects: int,
) -> int:
    """Count the evidence of one subject, oldest first; return how many pieces were new."""
    now_s = draft.now_s
    record = draft.get(TrustRecord, subject) or TrustRecord(
        subject=subject,
        at_s=now_s,
        updated_at_s=now_s,
        standing=GOOD_STANDING.model_copy(update={"subject": subject}),
    )
    dated = sorted(
        ((_dated(each.at_s, now_s), each) for each in evidence),
        key=lambda pair: pair[0],
    )
    seen, points, reason = record.seen, record.points, record.last_reason
    level = level_of(score_of(decayed(seen, now_s, policy), policy).score, record.standing.level, policy)
    accepted = 0
    for at_s, each in dated:
        if not is_first(draft, subject, each.evidence_id):
            continue
        accepted += 1
        seen = observe(
            seen,
            policy,
            is_success=each.is_success,
            response_s=each.response_s,
            weight=each.weight,
            at_s=at_s,
        )
        score = score_of(decayed(seen, now_s, policy), policy).score
        level = level_of(score, level.level, policy)
        reason = each.reason or ("success" if each.is_success else "failure")
        point = TrustPoint(
            at_s=at_s,
            score=score,
            level=level.level,
            is_success=each.is_success,
            response_s=each.response_s,
            reason=reason,
        )
        add_point(draft, subject, points, point, subjects)
        points += 1
    if accepted:
        after = record.model_copy(
            update={
                "samples": seen.samples, "successes": seen.successes, "timed": seen.timed,
                "slowness": seen.slowness, "at_s": seen.at_s,
            }
        )  # fmt: skip
        standing = standing_at(after, policy, now_s, level, reason)
        _tell_change(draft, record, standing, reason, caller, request)
        _put(draft, after, standing, points=points, reason=reason)
    return accepted


def _put(
    draft: SecurityDraft, record: TrustRecord, standing: Standing, *, points: int, reason: str
) -> TrustRecord:
    """Store a record with its new standing, and have the verifiers told where it allows something else."""
    if not is_same(record.standing, standing):
        draft.standings[record.subject] = standing
    stored = record.model_copy(
        update={"standing": standing, "points": points, "last_reason": reason, "updated_at_s": draft.now_s}
    )
    draft.put(record.subject, stored)
    return stored


def _tell_change(
    draft: SecurityDraft,
    before: TrustRecord,
    after: Standing,
    reason: str,
    caller: Principal | None = None,
    request: ReportEvidence | None = None,
) -> None:
    if is_same(before.standing, after):
        return
    draft.tell(
        AuditFact(
            kind="trust",
            subject=caller.subject if caller is not None else "",
            operation="security_gateway.report_evidence" if request is not None else "",
            target=before.subject,
            reason=reason,
            address=caller.address if caller is not None else "",
            request_id=request.request_id if request is not None else "",
            details={"level": f"{before.standing.level} -> {after.level}", "score": f"{after.score:.3f}"},
        )
    )


def _dated(at_s: float | None, now_s: float) -> float:
    return now_s if at_s is None else max(now_s - _OLDEST_S, min(at_s, now_s))


def _require_scored(subject: str, place: str) -> None:
    if subject.partition(":")[0] not in _SCORED_KINDS:
        raise InvalidInput(
            f"{place}: {subject} has no score.",
            "Only agents and machines have one: agent:NAME, machine:NAME.",
        )
