import pytest

from zejzl_ray.contracts.trust import Observation, SecurityEvent, ThreatLevel
from zejzl_ray.security.threats import (
    ADDRESS_CHANGE,
    BRUTE_FORCE,
    IP_BLOCKED,
    RATE_LIMIT_EXCEEDED,
    SCOPE_PROBING,
    TOKEN_REPLAY,
    DetectorRules,
    Detectors,
)

NOW_S = 10_000.0
HOME, AWAY = "192.0.2.7", "198.51.100.9"


def seen(kind: str, at_s: float = NOW_S, **more: object) -> Observation:
    return Observation.model_validate({"kind": kind, "at_s": at_s, **more})


def failed(
    at_s: float = NOW_S, *, subject: str = "user:ada", address: str = "", count: int = 1
) -> Observation:
    return seen("login_failed", at_s, subject=subject, address=address, count=count)


def all_of(detectors: Detectors, *observations: Observation) -> list[SecurityEvent]:
    return [event for each in observations for event in detectors.observe(each)]


def test_ten_failures_of_an_account_from_ever_new_addresses_are_an_attack_on_it() -> None:
    detectors = Detectors()
    before = all_of(detectors, *(failed(NOW_S + n, address=f"10.0.{n}.1") for n in range(9)))
    assert before == []
    (event,) = detectors.observe(failed(NOW_S + 9, address=HOME))
    assert (event.kind, event.level, event.subject, event.address) == (
        BRUTE_FORCE, ThreatLevel.HIGH, "user:ada", "",
    )  # fmt: skip
    assert event.count == 10
    assert "10 failed logins of one account" in event.description


def test_ten_failures_from_an_address_with_ever_new_accounts_are_an_attack_from_it() -> None:
    detectors = Detectors()
    (event,) = all_of(detectors, *(failed(subject=f"user:u{n}", address=AWAY) for n in range(10)))
    assert (event.kind, event.subject, event.address) == (BRUTE_FORCE, "", AWAY)


def test_failures_that_are_far_apart_are_no_attack() -> None:
    detectors = Detectors()
    assert all_of(detectors, *(failed(NOW_S + 40 * n) for n in range(50))) == []


def test_a_counted_observation_counts_as_often_as_it_says() -> None:
    (event,) = Detectors().observe(failed(count=12))
    assert event.count == 12


def test_the_same_finding_is_one_event_with_a_count_and_is_told_now_and_then() -> None:
    detectors = Detectors()
    events = all_of(detectors, *(failed(NOW_S + n / 10) for n in range(25)))
    assert len(events) == 1
    assert detectors.due(NOW_S + 5) == []
    (grown,) = detectors.due(NOW_S + 11)
    assert grown.event_id == events[0].event_id
    assert (grown.count, grown.first_at_s, grown.last_at_s) == (25, events[0].first_at_s, NOW_S + 2.4)
    assert detectors.due(NOW_S + 60) == []
    (again,) = detectors.observe(failed(NOW_S + 60))
    assert (again.event_id, again.count) == (grown.event_id, 26)


def test_a_finding_that_has_been_over_is_a_new_one() -> None:
    detectors = Detectors()
    (first,) = detectors.observe(failed(count=10))
    (second,) = detectors.observe(failed(NOW_S + 301, count=10))
    assert first.event_id != second.event_id
    assert second.count == 10


def test_three_times_as_strong_is_one_level_worse_and_told_at_once() -> None:
    detectors = Detectors()
    (event,) = detectors.observe(failed(count=30))
    assert event.level is ThreatLevel.HIGH
    (worse,) = detectors.observe(failed(NOW_S + 1))
    assert (worse.event_id, worse.level, worse.count) == (event.event_id, ThreatLevel.CRITICAL, 31)
    assert "31 failed" in worse.description
    assert detectors.observe(failed(NOW_S + 2)) == []


def test_five_different_operations_denied_in_a_minute_are_probing() -> None:
    detectors = Detectors()
    same = [seen("denied", subject="program:x", operation="a.b") for _ in range(20)]
    others = [seen("denied", NOW_S + n, subject="program:x", operation=f"a.c{n}") for n in range(4)]
    assert all_of(detectors, *same, *others[:3]) == []
    (event,) = detectors.observe(others[3])
    assert (event.kind, event.level, event.subject) == (SCOPE_PROBING, ThreatLevel.MEDIUM, "program:x")


def test_operations_denied_one_after_the_other_over_minutes_are_no_probing() -> None:
    detectors = Detectors()
    slow = (seen("denied", NOW_S + 20 * n, subject="program:x", operation=f"a.c{n}") for n in range(30))
    assert all_of(detectors, *slow) == []


def test_a_denial_of_nobody_counts_for_the_address_and_one_of_nothing_for_nobody() -> None:
    detectors = Detectors()
    (event,) = all_of(detectors, *(seen("denied", address=AWAY, operation=f"a.c{n}") for n in range(5)))
    assert event.address == AWAY
    nothing = (seen("denied", subject="user:ada"), seen("denied", operation="a.b"), failed(subject=""))
    assert all_of(detectors, *nothing) == []


def test_probing_everything_is_worse_and_needs_no_more_memory() -> None:
    detectors = Detectors()
    events = all_of(
        detectors, *(seen("denied", subject="program:x", operation=f"a.c{n}") for n in range(1000))
    )
    assert [event.level for event in events] == [ThreatLevel.MEDIUM, ThreatLevel.HIGH]
    known = detectors._denied.get("program:x")
    assert known is not None
    assert len(known) < 30


def test_a_subject_that_is_in_two_places_at_a_time_is_a_finding() -> None:
    detectors = Detectors()
    assert detectors.seen("user:ada", HOME, NOW_S) == []
    assert detectors.seen("user:ada", "192.0.2.200", NOW_S + 1) == []  # the same network
    (event,) = detectors.seen("user:ada", AWAY, NOW_S + 60)
    assert (event.kind, event.level, event.subject) == (ADDRESS_CHANGE, ThreatLevel.MEDIUM, "user:ada")
    assert "192.0.2.0/24" in event.description
    assert detectors.seen("user:ada", HOME, NOW_S + 61) == []  # both are known now
    assert detectors.seen("user:bob", AWAY, NOW_S + 61) == []


def test_a_subject_that_has_moved_is_none() -> None:
    detectors = Detectors()
    detectors.seen("user:ada", HOME, NOW_S)
    assert detectors.seen("user:ada", AWAY, NOW_S + 601) == []


@pytest.mark.parametrize(("subject", "address"), [("user:ada", ""), ("", HOME)])
def test_without_subject_or_address_there_is_no_place(subject: str, address: str) -> None:
    detectors = Detectors()
    detectors.seen("user:ada", AWAY, NOW_S)
    assert detectors.seen(subject, address, NOW_S) == []


def test_a_subject_in_very_many_places_is_worse_and_needs_no_more_memory() -> None:
    detectors = Detectors()
    events = [
        event for n in range(100) for event in detectors.seen("user:ada", f"10.{n}.0.1", NOW_S + n / 100)
    ]
    assert events[-1].level is ThreatLevel.HIGH
    known = detectors._networks.get("user:ada")
    assert known is not None
    assert len(known) < 10


def test_limits_and_blocked_addresses_are_events_of_their_own() -> None:
    detectors = Detectors()
    (limited,) = detectors.observe(seen("rate_limited", subject="program:x", count=7))
    (blocked,) = detectors.observe(seen("ip_blocked", address=AWAY))
    assert (limited.kind, limited.level, limited.count) == (RATE_LIMIT_EXCEEDED, ThreatLevel.LOW, 7)
    assert (blocked.kind, blocked.level, blocked.address) == (IP_BLOCKED, ThreatLevel.MEDIUM, AWAY)


def test_an_expired_token_is_no_attack() -> None:
    assert all_of(Detectors(), *(seen("unauthenticated", address=AWAY) for _ in range(1000))) == []


def test_what_others_have_found_is_kept_apart_by_whom_it_concerns() -> None:
    detectors = Detectors()

    def replay(subject: str, at_s: float) -> list[SecurityEvent]:
        return detectors.report(
            TOKEN_REPLAY, ThreatLevel.HIGH, at_s=at_s, subject=subject, description="Used twice."
        )

    (one,) = replay("user:ada", NOW_S)
    (other,) = replay("user:bob", NOW_S)
    assert one.event_id != other.event_id
    assert replay("user:ada", NOW_S + 1) == []


def test_nothing_is_worse_than_critical() -> None:
    (event,) = Detectors().report(
        "anything", ThreatLevel.CRITICAL, at_s=NOW_S, description="Bad.", strength=100
    )
    assert event.level is ThreatLevel.CRITICAL


def test_a_reporter_whose_clock_is_ahead_does_not_reach_into_the_future() -> None:
    (event,) = Detectors().observe(failed(NOW_S + 1e6, count=10), NOW_S)
    assert event.last_at_s == NOW_S


def test_an_attack_from_everywhere_takes_a_bounded_memory() -> None:
    detectors = Detectors(DetectorRules(max_subjects=50))
    for number in range(2000):
        address = f"10.{number >> 8}.{number & 255}.1"
        all_of(
            detectors,
            failed(subject=f"user:u{number}", address=address, count=20),
            seen("denied", subject=f"user:u{number}", operation="a.b"),
        )
        detectors.seen(f"user:u{number}", address, NOW_S)
    assert len(detectors) == 200


def test_the_steps_of_a_long_attack_are_merged() -> None:
    detectors = Detectors()
    for number in range(5000):
        detectors.observe(failed(NOW_S + number / 10))
    steps = detectors._failures.get("user:ada")
    assert steps is not None
    assert len(steps) <= 12
