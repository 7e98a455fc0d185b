"""Security events that are kept: the last ten thousand, over restarts; and what they say about trust."""

import heapq
from collections import Counter
from collections.abc import Iterable
from typing import ClassVar, Final

from zejzl_ray.commands.records import Record, RecordDraft
from zejzl_ray.contracts.trust import (
    Evidence,
    ListSecurityEvents,
    Observation,
    SecurityEvent,
    SecurityEvents,
    ThreatLevel,
)
from zejzl_ray.security.draft import AuditFact, SecurityDraft

MOST_KEPT: Final = 10_000
_LEVELS: Final = tuple(ThreatLevel)
_MINUTE_S: Final = 60.0
# Whoever fails to log in need not be the one whose name was used, so such a failure weighs little.
_LOGIN_WEIGHT: Final = 0.1
_SCORED: Final = ("agent:", "machine:")


class SecurityEventRecord(Record):
    """A security event as stored, under its id."""

    KIND: ClassVar[str] = "security_event"

    event: SecurityEvent


def decide_keep(draft: SecurityDraft, events: Iterable[SecurityEvent], *, most: int = MOST_KEPT) -> int:
    """Keep new events and new states of known ones; the oldest go above ``most``.

    The audit trail is told of each new event, and of one that has become worse.

    Returns:
        How many were new.
    """
    new = 0
    for event in events:
        known = draft.get(SecurityEventRecord, event.event_id)
        draft.put(event.event_id, SecurityEventRecord(event=event))
        new += known is None
        if known is None or known.event.level != event.level:
            draft.tell(
                AuditFact(
                    kind="security_event",
                    subject=event.subject,
                    outcome=event.level.value,
                    reason=event.description,
                    address=event.address,
                    count=event.count,
                    details={"event_id": event.event_id, "kind": event.kind},
                )
            )
    if new:
        _trim(draft, most)
    return new


def list_events(draft: RecordDraft, request: ListSecurityEvents) -> SecurityEvents:
    """Return the last events of a level or worse, newest first, and counts of all that are kept."""
    kept = [record.event for _, record in draft.all(SecurityEventRecord)]
    least = _LEVELS.index(request.least_level)
    wanted = [event for event in kept if _LEVELS.index(event.level) >= least]
    return SecurityEvents(
        events=tuple(heapq.nlargest(request.limit, wanted, key=lambda event: event.last_at_s)),
        counts_by_level=dict(Counter(event.level.value for event in kept)),
        counts_by_kind=dict(Counter(event.kind for event in kept)),
    )


def evidence_of(observation: Observation, now_s: float) -> Evidence | None:
    """Return what a failed login says about the trust in an agent or machine; null when it says nothing.

    At most once a minute and subject, whatever somebody tries in its name or says of when: the id of the evidence is
    that of the minute at wall time ``now_s``.
    Denied calls are no evidence: a score that falls because it is low would never rise again.
    """
    if observation.kind != "login_failed" or not observation.subject.startswith(_SCORED):
        return None
    return Evidence(
        evidence_id=f"login_failed-{int(now_s // _MINUTE_S)}-{observation.subject}"[:128],
        subject=observation.subject,
        is_success=False,
        weight=_LOGIN_WEIGHT,
        reason="failed login",
        at_s=now_s,
    )


def _trim(draft: SecurityDraft, most: int) -> None:
    seen = [(record.event.last_at_s, key) for key, record in draft.all(SecurityEventRecord)]
    for _, key in heapq.nsmallest(max(0, len(seen) - most), seen):
        draft.delete(SecurityEventRecord, key)
