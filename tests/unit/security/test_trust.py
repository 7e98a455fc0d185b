"""Evidence comes in, a standing comes out: once each, never about oneself, with a reason and a way back."""

from typing import Any

import pytest

from zejzl_ray.commands.records import Records
from zejzl_ray.contracts.access import GOOD_STANDING, Principal, PriorityClass
from zejzl_ray.contracts.trust import (
    Evidence,
    GetTrust,
    GetTrustHistory,
    ListTrust,
    ReportEvidence,
    ResetTrust,
    Trust,
    TrustPoint,
)
from zejzl_ray.errors import Forbidden, InvalidInput, NotFound, Overloaded, ZejzlError
from zejzl_ray.security import trust, trust_records
from zejzl_ray.security.draft import SecurityDraft
from zejzl_ray.security.policy_file import default_policy
from zejzl_ray.security.trust_records import SeenEvidence, TrustPointRecord, TrustRecord, is_first

POLICY = default_policy().trust
BUS = Principal(subject="service:error_bus", address="10.0.0.7")
ADA = Principal(subject="user:ada")
HOUR_S = 3600.0


class Gateway:
    """The records, a clock, and one commit a command."""

    def __init__(self) -> None:
        self.records = Records()
        self.now_s = 1_000_000.0
        self.policy = POLICY
        self.last = self.draft()
        self._ids = 0

    def draft(self) -> SecurityDraft:
        return SecurityDraft(self.records, self.now_s)

    def report(self, *evidence: Evidence, caller: Principal = BUS) -> tuple[int, int]:
        draft = self.draft()
        try:
            answer = trust.decide_report_evidence(
                draft, ReportEvidence(evidence=evidence), caller, self.policy
            )
        except ZejzlError:
            assert draft.ops == []
            assert not draft.facts
            assert not draft.standings
            raise
        draft.apply()
        self.last = draft
        return answer.accepted, answer.repeated

    def saw(self, subject: str, count: int, *, is_success: bool, **rest: Any) -> None:
        evidence = [self.piece(subject, is_success=is_success, **rest) for _ in range(count)]
        self.report(*evidence)

    def piece(self, subject: str = "agent:A", *, is_success: bool = True, **rest: Any) -> Evidence:
        self._ids += 1
        return Evidence(
            **{"evidence_id": f"e{self._ids}", "subject": subject, "is_success": is_success, **rest}
        )

    def reset(self, subject: str, caller: Principal = ADA) -> Trust:
        draft = self.draft()
        answer = trust.decide_reset(
            draft, ResetTrust(subject=subject, reason="new model"), caller, self.policy
        )
        draft.apply()
        self.last = draft
        return answer

    def tick(self, *, is_policy_new: bool = False) -> int:
        draft = self.draft()
        due = trust.due_standings(self.draft(), self.policy, is_policy_new=is_policy_new)
        changed = trust.decide_due(draft, due, self.policy)
        draft.apply()
        self.last = draft
        return changed

    def get(self, subject: str = "agent:A") -> Trust:
        return trust.get(self.draft(), GetTrust(subject=subject), self.policy)

    def history(self, subject: str = "agent:A", limit: int = 1000) -> tuple[TrustPoint, ...]:
        return trust.history(self.draft(), GetTrustHistory(subject=subject, limit=limit)).points


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


# --- what is counted ------------------------------------------------------------------------------------------------


def test_an_unknown_subject_has_the_prior_and_is_said_to_be_unknown(gateway: Gateway) -> None:
    got = gateway.get()
    assert (got.is_known, got.score, got.samples, got.updated_at_s) == (False, 0.5, 0.0, None)
    assert got.standing.level == "normal"
    assert got.standing.reason == "Nobody has reported on it."
    assert got.way_back.startswith("It is trusted at a score of 0.85: after ")
    assert gateway.history() == ()


def test_evidence_moves_the_score_of_its_subject_and_of_no_other(gateway: Gateway) -> None:
    gateway.saw("agent:A", 3, is_success=False)
    gateway.saw("agent:B", 3, is_success=True, response_s=0.1)
    assert gateway.get("agent:A").score < 0.5 < gateway.get("agent:B").score
    assert gateway.get("machine:A").is_known is False
    assert gateway.get("agent:A").updated_at_s == gateway.now_s


def test_each_piece_of_evidence_counts_once(gateway: Gateway) -> None:
    one, two = gateway.piece(), gateway.piece()
    assert gateway.report(one, two, one) == (2, 1)
    before = gateway.get()
    assert gateway.report(two, one) == (0, 2)
    assert gateway.last.ops == []
    assert gateway.get() == before
    # the same id about somebody else is another observation
    assert gateway.report(one.model_copy(update={"subject": "agent:B"})) == (1, 0)


def test_a_time_to_come_counts_as_now_and_a_past_one_for_its_age(gateway: Gateway) -> None:
    gateway.report(gateway.piece(at_s=gateway.now_s + 1e9))
    assert gateway.history()[0].at_s == gateway.now_s
    assert gateway.get().samples == pytest.approx(1.0)
    gateway.report(gateway.piece(at_s=gateway.now_s - HOUR_S))
    assert gateway.get().samples == pytest.approx(1.5)
    gateway.report(gateway.piece(at_s=-1e300))
    assert gateway.get().samples == pytest.approx(1.5)


def test_evidence_of_one_report_is_counted_in_the_order_of_its_times(gateway: Gateway) -> None:
    late = gateway.piece(at_s=gateway.now_s, reason="late")
    gateway.report(late, gateway.piece(at_s=gateway.now_s - 60, reason="early"))
    assert [point.reason for point in gateway.history()] == ["late", "early"]


@pytest.mark.parametrize("subject", ["user:ada", "service:error_bus", "program:p"])
def test_only_agents_and_machines_have_a_score(gateway: Gateway, subject: str) -> None:
    with pytest.raises(InvalidInput, match=r"evidence\.1"):
        gateway.report(gateway.piece(), gateway.piece(subject))
    with pytest.raises(InvalidInput, match="no score"):
        gateway.get(subject)
    with pytest.raises(InvalidInput, match="no score"):
        gateway.history(subject)


def test_nobody_reports_on_itself_or_pardons_itself(gateway: Gateway) -> None:
    agent = Principal(subject="agent:A")
    with pytest.raises(Forbidden, match="on itself"):
        gateway.report(gateway.piece("agent:B"), gateway.piece("agent:A"), caller=agent)
    assert gateway.get("agent:B").is_known is False
    assert gateway.report(gateway.piece("agent:B"), caller=agent) == (1, 0)
    with pytest.raises(Forbidden, match="its own trust"):
        gateway.reset("agent:A", caller=agent)


def test_what_was_counted_survives_a_restart(gateway: Gateway) -> None:
    gateway.saw("agent:A", 5, is_success=False, reason="timeout", response_s=6.0)
    restarted = Gateway()
    for kind in (TrustRecord, TrustPointRecord, SeenEvidence):
        for key, record in gateway.records.all(kind, gateway.now_s):
            restarted.records.put(key, kind.model_validate_json(record.model_dump_json()))
    assert restarted.get() == gateway.get()
    assert restarted.history() == gateway.history()
    assert restarted.report(Evidence(evidence_id="e1", subject="agent:A", is_success=True)) == (0, 1)


# --- what it leads to -----------------------------------------------------------------------------------------------


def test_a_change_of_level_is_told_to_verifiers_and_to_the_audit_trail(gateway: Gateway) -> None:
    gateway.saw("agent:A", 1, is_success=False)
    assert gateway.last.standings == {}
    assert gateway.last.facts == []
    gateway.saw("agent:A", 8, is_success=False, reason="timeout after 5 s")
    standing = gateway.last.standings["agent:A"]
    assert (standing.level, standing.can_write, standing.rate_ratio, standing.max_lease_ratio) == (
        "restricted", False, 0.1, 0.0,
    )  # fmt: skip
    assert standing.priority is PriorityClass.LOW
    assert standing.reason == f"Its score is {standing.score:.2f}; the last news was: timeout after 5 s."
    (fact,) = gateway.last.facts
    assert (fact.kind, fact.subject, fact.target, fact.address) == (
        "trust", "service:error_bus", "agent:A", "10.0.0.7",
    )  # fmt: skip
    assert fact.details["level"] == "normal -> restricted"
    gateway.saw("agent:A", 1, is_success=False)
    assert gateway.last.standings == {}


def test_good_work_raises_the_standing(gateway: Gateway) -> None:
    gateway.saw("agent:A", 40, is_success=True, response_s=0.1)
    standing = gateway.last.standings["agent:A"]
    assert (standing.level, standing.priority) == ("trusted", PriorityClass.HIGH)
    assert gateway.get().way_back == ""


def test_time_alone_leads_back_to_the_default(gateway: Gateway) -> None:
    gateway.saw("agent:A", 1000, is_success=False)
    levels = []
    for _ in range(12):
        gateway.now_s += HOUR_S
        if gateway.tick():
            levels.append(gateway.last.standings["agent:A"].level)
            assert gateway.last.facts[0].reason == "time has passed"
    assert levels == ["limited", "normal"]
    standing = gateway.last.standings.get("agent:A") or gateway.get().standing
    assert trust.due_standings(gateway.draft(), POLICY) == ()
    assert (standing.can_write, standing.rate_ratio) == (True, 1.0)
    assert gateway.history()[0].reason == "time has passed"


def test_the_tick_changes_nothing_while_nothing_is_due(gateway: Gateway) -> None:
    gateway.saw("agent:A", 1000, is_success=False)
    gateway.saw("agent:B", 1, is_success=True)
    assert gateway.tick() == 0
    assert gateway.last.ops == []


def test_a_finding_that_no_longer_holds_is_passed_over(gateway: Gateway) -> None:
    gateway.saw("agent:A", 1000, is_success=False)
    gateway.now_s += 12 * HOUR_S
    due = trust.due_standings(gateway.draft(), POLICY)
    assert [each.subject for each in due] == ["agent:A"]
    assert gateway.tick() == 1
    gone = due[0].model_copy(update={"subject": "agent:Gone"})
    assert trust.decide_due(gateway.draft(), (*due, gone), POLICY) == 0


def test_another_policy_reaches_those_in_normal_standing_too(gateway: Gateway) -> None:
    gateway.saw("agent:A", 1, is_success=False)
    levels = (POLICY.levels[0], POLICY.levels[1].model_copy(update={"below": 0.44}), *POLICY.levels[2:])
    gateway.policy = POLICY.model_copy(update={"levels": levels})
    assert gateway.tick() == 0
    assert gateway.tick(is_policy_new=True) == 1
    assert gateway.last.standings["agent:A"].level == "limited"


def test_the_way_back_says_what_it_takes(gateway: Gateway) -> None:
    gateway.saw("agent:A", 20, is_success=False)
    got = gateway.get()
    assert got.way_back.startswith("It is limited at a score of 0.35: after ")
    assert "successes in a row" in got.way_back
    assert "h" in got.way_back.partition(" without news")[0]
    gateway.now_s += 4 * HOUR_S
    gateway.tick()
    assert "It is normal at a score of 0.45" in gateway.get().way_back
    assert "about 1 h without news" in gateway.get().way_back
    gateway.now_s += HOUR_S / 2
    assert "about 30 min without news" in gateway.get().way_back


def test_one_success_may_be_enough(gateway: Gateway) -> None:
    policy = POLICY.model_copy(update={"prior_samples": 0.5})
    gateway.policy = policy
    gateway.saw("agent:A", 1, is_success=False)
    assert "1 success in a row" in gateway.get().way_back


def test_where_nothing_else_leads_back_an_operator_does(gateway: Gateway) -> None:
    levels = (POLICY.levels[2].model_copy(update={"below": 0.95}), POLICY.levels[3])
    gateway.policy = POLICY.model_copy(update={"levels": levels})
    assert gateway.get().way_back == "It is trusted at a score of 1.00: after a reset by an operator."


def test_trust_and_standing_agree_at_any_time(gateway: Gateway) -> None:
    gateway.saw("agent:A", 9, is_success=False)
    record = gateway.draft().get(TrustRecord, "agent:A")
    assert record is not None
    for hours in range(10):
        gateway.now_s += hours * HOUR_S
        assert trust.standing_of(record, POLICY, gateway.now_s) == gateway.get().standing


# --- lists, history, pardon -----------------------------------------------------------------------------------------


def test_the_list_begins_with_the_lowest(gateway: Gateway) -> None:
    for number in range(5):
        gateway.saw(f"agent:A{number}", number + 1, is_success=False)
    gateway.saw("machine:pc2", 1, is_success=True)
    listed = trust.list_page(gateway.draft(), ListTrust(limit=3), POLICY).trust
    assert [each.subject for each in listed] == ["agent:A4", "agent:A3", "agent:A2"]
    everything = trust.list_page(gateway.draft(), ListTrust(), POLICY).trust
    assert everything[-1].subject == "machine:pc2"
    assert [each.score for each in everything] == sorted(each.score for each in everything)


def test_history_is_newest_first_with_scores_and_reasons(gateway: Gateway) -> None:
    gateway.saw("agent:A", 1, is_success=False, reason="HTTP 500", response_s=1.5)
    gateway.now_s += 10
    gateway.saw("agent:A", 1, is_success=True)
    newest, oldest = gateway.history()
    assert (newest.is_success, newest.reason, newest.response_s) == (True, "success", None)
    assert (oldest.is_success, oldest.reason, oldest.response_s) == (False, "HTTP 500", 1.5)
    assert newest.at_s == oldest.at_s + 10
    assert oldest.score < newest.score
    assert gateway.history(limit=1) == (newest,)


def test_history_keeps_the_last_hundred(gateway: Gateway) -> None:
    for number in range(260):
        gateway.report(gateway.piece(reason=f"n{number}"))
    assert [point.reason for point in gateway.history()] == [f"n{number}" for number in range(259, 159, -1)]
    assert gateway.records.count(TrustPointRecord) == 100


def test_history_is_forgotten_after_a_month(gateway: Gateway) -> None:
    gateway.saw("agent:A", 3, is_success=True)
    gateway.now_s += 31 * 86_400
    assert gateway.history() == ()


def test_a_pardon_forgets_what_was_seen_and_stays_in_the_history(gateway: Gateway) -> None:
    gateway.saw("agent:A", 20, is_success=False)
    got = gateway.reset("agent:A")
    assert (got.score, got.samples, got.standing.level) == (0.5, 0.0, "normal")
    assert gateway.last.standings["agent:A"].model_copy(
        update={"score": 1.0, "reason": "", "subject": ""}
    ) == (GOOD_STANDING)
    (fact,) = gateway.last.facts
    assert (fact.kind, fact.subject, fact.target, fact.reason) == (
        "trust",
        "user:ada",
        "agent:A",
        "new model",
    )
    assert fact.details == {"level": "restricted -> normal"}
    assert gateway.history()[0].reason == "reset by user:ada: new model"
    assert len(gateway.history()) == 21
    assert gateway.reset("agent:A") == got
    assert gateway.last.standings == {}


def test_there_is_nothing_to_pardon_of_an_unknown_subject(gateway: Gateway) -> None:
    with pytest.raises(NotFound, match="agent:Nobody"):
        gateway.reset("agent:Nobody")


# --- bounds ---------------------------------------------------------------------------------------------------------


def test_subjects_are_bounded_and_the_long_silent_ones_make_room(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trust_records, "MAX_SUBJECTS", 3)
    for name in ("A", "B", "C"):
        gateway.saw(f"agent:{name}", 2, is_success=True)
        gateway.now_s += 1
    with pytest.raises(Overloaded, match="3 subjects"):
        gateway.saw("agent:D", 1, is_success=True)
    gateway.saw("agent:A", 1, is_success=True)
    gateway.now_s += 24 * HOUR_S
    # A is named in the same report and stays, though it has been silent too
    gateway.report(gateway.piece("agent:A"), gateway.piece("agent:D"))
    assert sorted(key for key, _ in gateway.draft().all(TrustRecord)) == ["agent:A", "agent:C", "agent:D"]
    assert gateway.history("agent:B") == ()


def test_a_restricted_subject_is_not_forgotten_to_make_room(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trust_records, "MAX_SUBJECTS", 1)
    gateway.saw("agent:A", 50, is_success=False)
    gateway.now_s += 48 * HOUR_S
    with pytest.raises(Overloaded):
        gateway.saw("agent:B", 1, is_success=True)
    gateway.tick()
    gateway.saw("agent:B", 1, is_success=True)
    assert [key for key, _ in gateway.draft().all(TrustRecord)] == ["agent:B"]


def test_with_very_many_subjects_each_keeps_fewer_points(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trust_records, "POINTS_IN_ALL", 40)
    for number in range(10):
        gateway.saw(f"agent:A{number}", 10, is_success=True)
    assert len(gateway.history("agent:A9")) == 4
    gateway.saw("agent:A0", 1, is_success=True, reason="newest")
    assert gateway.history("agent:A0", limit=1)[0].reason == "newest"


def test_evidence_ids_are_kept_in_a_table_of_fixed_size(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trust_records, "_SETS", 4)
    draft = gateway.draft()
    assert all(is_first(draft, "agent:A", f"id{number}") for number in range(200))
    kept = [record for _, record in draft.all(SeenEvidence)]
    assert len(kept) == 4
    assert {len(record.digests) for record in kept} == {8}
    assert not is_first(draft, "agent:A", "id199")
    assert is_first(draft, "agent:A", "id0")


def test_ten_thousand_ids_are_all_still_known(gateway: Gateway) -> None:
    draft = gateway.draft()
    for number in range(10_000):
        is_first(draft, "agent:A", f"id{number}")
    assert sum(is_first(draft, "agent:A", f"id{number}") for number in range(10_000)) == 0
