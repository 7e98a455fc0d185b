import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.auth.tokens import NOW_S, claims
from zejzl_ray.auth.revocations import RevocationList, moment_of_revocation, second_of_issue
from zejzl_ray.contracts.security_feed import Revocation

UNTIL_S = NOW_S + 3600


def listed(*revocations: Revocation) -> RevocationList:
    known = RevocationList()
    known.replace(revocations)
    return known


def of_token(value: str, until_s: float = UNTIL_S) -> Revocation:
    return Revocation(kind="token", value=value, until_s=until_s)


def of_subject(value: str, before_s: float, until_s: float = UNTIL_S) -> Revocation:
    return Revocation(kind="subject", value=value, before_s=before_s, until_s=until_s)


def of_all(before_s: float, until_s: float = UNTIL_S) -> Revocation:
    return Revocation(kind="all", before_s=before_s, until_s=until_s)


def test_an_empty_list_ends_nothing() -> None:
    assert RevocationList().find(claims()) is None


@pytest.mark.parametrize(
    "revocation",
    [
        of_token("t1"),
        Revocation(kind="session", value="s1", until_s=UNTIL_S),
        of_subject("user:alice", NOW_S + 1),
        of_all(NOW_S + 1),
    ],
)
def test_a_token_is_ended_by_each_kind(revocation: Revocation) -> None:
    assert listed(revocation).find(claims()) == revocation


@pytest.mark.parametrize(
    "revocation",
    [
        of_token("t2"),
        of_token("s1"),
        Revocation(kind="session", value="t1", until_s=UNTIL_S),
        of_subject("user:bob", NOW_S + 1),
        of_subject("", NOW_S + 1),
        of_all(NOW_S - 1),
    ],
)
def test_what_concerns_others_ends_nothing(revocation: Revocation) -> None:
    assert listed(revocation).find(claims()) is None


@pytest.mark.parametrize(
    ("before_s", "is_ended"), [(NOW_S - 0.001, False), (NOW_S, True), (NOW_S + 0.4, True), (NOW_S + 1, True)]
)
def test_what_was_issued_up_to_the_second_of_the_moment_is_ended(before_s: float, is_ended: bool) -> None:
    assert (listed(of_subject("user:alice", before_s)).find(claims()) is not None) is is_ended
    assert (listed(of_all(before_s)).find(claims()) is not None) is is_ended


@given(
    st.lists(st.tuples(st.booleans(), st.floats(0, 1.2)), min_size=2, max_size=12),
    st.floats(NOW_S, NOW_S + 1),
)
def test_what_is_issued_before_a_revocation_is_ended_and_what_comes_after_it_is_not(
    steps: list[tuple[bool, float]], now_s: float
) -> None:
    known = RevocationList()
    alive: list[int] = []
    for is_issue, pause_s in steps:
        now_s += pause_s
        ended_until_s = known.ended_until_s("user:alice")
        if is_issue:
            alive.append(second_of_issue(now_s, ended_until_s))
            assert known.find(claims(issued_at_s=alive[-1])) is None
        else:
            known.add([of_subject("user:alice", moment_of_revocation(now_s, ended_until_s))])
            assert all(known.find(claims(issued_at_s=second)) for second in alive)
            alive.clear()


def test_without_a_revocation_a_token_is_dated_as_the_clock_says() -> None:
    assert second_of_issue(NOW_S + 0.9, 0.0) == NOW_S
    assert moment_of_revocation(NOW_S + 0.9, 0.0) == NOW_S + 0.9


def test_four_revocations_in_a_second_leave_new_tokens_within_the_leeway() -> None:
    known = RevocationList()
    for _ in range(4):
        known.add([of_all(moment_of_revocation(NOW_S, known.ended_until_s("user:alice")))])
    assert second_of_issue(NOW_S, known.ended_until_s("user:alice")) <= NOW_S + 5


def test_of_several_moments_the_last_counts_and_is_kept_longest() -> None:
    known = listed(of_subject("user:alice", NOW_S + 5), of_subject("user:alice", NOW_S - 5, UNTIL_S + 100))
    assert len(known) == 1
    assert known.find(claims()) == of_subject("user:alice", NOW_S + 5, UNTIL_S + 100)


def test_a_repeated_revocation_is_kept_for_the_longer_time() -> None:
    known = listed(of_token("t1", NOW_S + 10), of_token("t1", NOW_S + 20), of_token("t1", NOW_S + 5))
    known.forget(NOW_S + 15)
    assert known.find(claims()) == of_token("t1", NOW_S + 20)


def test_what_concerns_only_expired_tokens_is_forgotten() -> None:
    known = listed(of_token("t1", NOW_S + 10), of_subject("user:alice", NOW_S, NOW_S + 10), of_all(NOW_S))
    known.forget(NOW_S + 9.9)
    assert len(known) == 3
    known.forget(NOW_S + 10)
    assert len(known) == 1


def test_replacing_forgets_what_was_known() -> None:
    known = listed(of_token("t1"))
    known.replace([of_token("t2")])
    assert known.find(claims()) is None
    assert known.find(claims(token_id="t2")) is not None


def test_the_revision_changes_with_news_and_not_with_forgetting() -> None:
    known = RevocationList()
    seen = [known.revision]
    known.add([of_token("t1", NOW_S)])
    seen.append(known.revision)
    known.replace([of_token("t1", NOW_S)])
    seen.append(known.revision)
    assert len(set(seen)) == 3
    known.forget(NOW_S)
    assert known.revision == seen[-1]
