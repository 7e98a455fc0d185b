import pytest

from zejzl_ray.commands.records import Records
from zejzl_ray.contracts.trust import ListSecurityEvents, Observation, SecurityEvent, ThreatLevel
from zejzl_ray.security.draft import SecurityDraft
from zejzl_ray.security.security_events import SecurityEventRecord, decide_keep, evidence_of, list_events

NOW_S = 10_000.0


def event(
    number: int, level: ThreatLevel = ThreatLevel.LOW, kind: str = "ip_blocked", count: int = 1
) -> SecurityEvent:
    at_s = NOW_S + number
    return SecurityEvent(
        event_id=f"sec-{number}", kind=kind, level=level, subject="user:ada", address="192.0.2.7",
        description="Something.", first_at_s=at_s, last_at_s=at_s, count=count,
    )  # fmt: skip


def test_events_are_kept_and_told_newest_first_with_counts_of_all() -> None:
    draft = SecurityDraft(Records(), NOW_S)
    events = [event(1), event(2, ThreatLevel.HIGH, "brute_force"), event(3, ThreatLevel.MEDIUM)]
    assert decide_keep(draft, events) == 3
    everything = list_events(draft, ListSecurityEvents())
    assert [each.event_id for each in everything.events] == ["sec-3", "sec-2", "sec-1"]
    assert everything.counts_by_level == {"low": 1, "high": 1, "medium": 1}
    assert everything.counts_by_kind == {"ip_blocked": 2, "brute_force": 1}
    worse = list_events(draft, ListSecurityEvents(least_level=ThreatLevel.MEDIUM, limit=1))
    assert [each.event_id for each in worse.events] == ["sec-3"]
    assert worse.counts_by_level == everything.counts_by_level


def test_the_audit_trail_hears_of_new_and_worse_events_only() -> None:
    draft = SecurityDraft(Records(), NOW_S)
    decide_keep(draft, [event(1)])
    assert decide_keep(draft, [event(1, count=5)]) == 0
    decide_keep(draft, [event(1, ThreatLevel.MEDIUM, count=6)])
    assert [(fact.kind, fact.outcome, fact.count) for fact in draft.facts] == [
        ("security_event", "low", 1),
        ("security_event", "medium", 6),
    ]
    assert draft.facts[0].details == {"event_id": "sec-1", "kind": "ip_blocked"}
    (kept,) = list_events(draft, ListSecurityEvents()).events
    assert kept.count == 6


def test_above_the_bound_the_oldest_go_also_after_a_restart() -> None:
    records = Records()
    for number in range(7, 0, -1):  # a store gives records back in any order
        draft = SecurityDraft(records, NOW_S)
        decide_keep(draft, [event(number)])
        draft.apply()
    draft = SecurityDraft(records, NOW_S)
    decide_keep(draft, [event(8), event(9)], most=4)
    draft.apply()
    assert sorted(key for key, _ in records.all(SecurityEventRecord, NOW_S)) == [
        "sec-6", "sec-7", "sec-8", "sec-9",
    ]  # fmt: skip


def failed(subject: str, at_s: float = NOW_S, kind: str = "login_failed") -> Observation:
    return Observation(kind=kind, subject=subject, at_s=at_s, count=50)


@pytest.mark.parametrize("subject", ["agent:Scout", "machine:pc2"])
def test_a_failed_login_says_little_about_an_agent_or_machine_once_a_minute(subject: str) -> None:
    one, same, later = (evidence_of(failed(subject, NOW_S - 60 * s), NOW_S + s) for s in (0, 19, 21))
    assert one is not None
    assert same is not None
    assert later is not None
    assert (one.subject, one.is_success, one.weight, one.response_s) == (subject, False, 0.1, None)
    assert one.evidence_id == same.evidence_id
    assert one.evidence_id != later.evidence_id


@pytest.mark.parametrize(
    "observation",
    [
        failed("user:ada"),
        failed(""),
        failed("program:x"),
        failed("agent:Scout", kind="denied"),
        failed("agent:Scout", kind="rate_limited"),
    ],
)
def test_denials_and_people_are_no_matter_of_trust(observation: Observation) -> None:
    assert evidence_of(observation, NOW_S) is None


def test_a_long_name_still_makes_an_id() -> None:
    evidence = evidence_of(failed("agent:" + "A" * 128), NOW_S)
    assert evidence is not None
    assert len(evidence.evidence_id) == 128
