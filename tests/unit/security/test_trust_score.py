"""The score is bounded, fair to the order of arrival, never sinks by a success, and forgets."""

import math
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zejzl_ray.contracts.policy import TrustLevel, TrustPolicy
from zejzl_ray.security.policy_file import default_policy
from zejzl_ray.security.trust_score import (
    NOTHING,
    Seen,
    decayed,
    level_of,
    observe,
    score_of,
    successes_until,
    target_above,
    wait_until_s,
)

POLICY = default_policy().trust
HOUR_S = 3600.0

Piece = tuple[bool, float | None, float, float]
PIECES = st.lists(
    st.tuples(
        st.booleans(),
        st.none() | st.floats(0, 86_400),
        st.floats(0.001, 100),
        st.floats(-1e12, 1e12) | st.floats(0, 10 * HOUR_S),
    ),
    max_size=40,
)
POLICIES = st.builds(
    lambda success, slow, prior, weight, most, life: POLICY.model_copy(
        update={
            "success_weight": success,
            "speed_weight": 1 - success,
            "slow_s": slow,
            "prior": prior,
            "prior_samples": weight,
            "max_samples": most,
            "half_life_s": life,
        }
    ),
    st.floats(0, 1),
    st.floats(0.001, 3600),
    st.floats(0, 1),
    st.floats(0.001, 1000),
    st.floats(1, 100_000),
    st.floats(0.001, 30 * 86_400),
)


def after(pieces: list[Piece], policy: TrustPolicy = POLICY, start: Seen = NOTHING) -> Seen:
    seen = start
    for is_success, response_s, weight, at_s in pieces:
        seen = observe(seen, policy, is_success=is_success, response_s=response_s, weight=weight, at_s=at_s)
    return seen


def score(pieces: list[Piece], policy: TrustPolicy = POLICY) -> float:
    return score_of(after(pieces, policy), policy).score


def failures(count: int) -> list[Piece]:
    return [(False, None, 1.0, 0.0)] * count


# --- the numbers ----------------------------------------------------------------------------------------------------


def test_the_weights_of_old_are_the_defaults() -> None:
    assert (POLICY.success_weight, POLICY.speed_weight, POLICY.slow_s, POLICY.prior) == (0.7, 0.3, 5.0, 0.5)
    assert TrustPolicy(levels=POLICY.levels) == POLICY


def test_nobody_has_been_seen_yet() -> None:
    assert score_of(NOTHING, POLICY).score == pytest.approx(0.5)


def test_with_much_evidence_the_score_is_the_old_formula() -> None:
    # 0.7 * 3/4 + 0.3 * (1 - 1/5), with next to no prior
    policy = POLICY.model_copy(update={"prior_samples": 1e-6})
    pieces: list[Piece] = [(good, 1.0, 1.0, 0.0) for good in (True, True, True, False)]
    assert score(pieces, policy) == pytest.approx(0.7 * 0.75 + 0.3 * 0.8, abs=1e-4)


@pytest.mark.parametrize(
    ("piece", "share", "speed"),
    [
        ((True, None, 1.0, 0.0), (1 + 2) / 5, 0.5),
        ((False, None, 1.0, 0.0), 2 / 5, 0.5),
        ((True, 0.0, 1.0, 0.0), 3 / 5, 3 / 5),
        ((True, 5.0, 1.0, 0.0), 3 / 5, 2 / 5),
        ((True, 86_400.0, 1.0, 0.0), 3 / 5, 2 / 5),
        ((True, 2.5, 1.0, 0.0), 3 / 5, 0.5),
        ((True, None, 4.0, 0.0), 6 / 8, 0.5),
    ],
)
def test_one_observation_moves_the_parts_by_its_weight(piece: Piece, share: float, speed: float) -> None:
    got = score_of(after([piece]), POLICY)
    assert got.success_share == pytest.approx(share)
    assert got.speed == pytest.approx(speed)


def test_an_unknown_response_time_earns_nothing() -> None:
    assert score([(True, None, 1.0, 0.0)]) < score([(True, 0.0, 1.0, 0.0)])


# --- properties -----------------------------------------------------------------------------------------------------


@given(PIECES, POLICIES, st.floats(0, 1e9))
def test_a_score_is_always_between_0_and_1(pieces: list[Piece], policy: TrustPolicy, wait_s: float) -> None:
    seen = after(pieces, policy)
    for at in (seen, decayed(seen, seen.at_s + wait_s, policy)):
        got = score_of(at, policy)
        assert all(0 <= part <= 1 for part in (got.score, got.success_share, got.speed))
        assert 0 <= at.successes <= at.samples * (1 + 1e-9)
        assert at.samples <= policy.max_samples * (1 + 1e-9)
        assert all(math.isfinite(part) for part in (at.samples, at.successes, at.timed, at.slowness))


@given(PIECES, POLICIES, st.data())
def test_a_success_in_place_of_a_failure_never_lowers_a_score(
    pieces: list[Piece], policy: TrustPolicy, data: st.DataObject
) -> None:
    if not pieces:
        return
    at = data.draw(st.integers(0, len(pieces) - 1))
    _, *rest = pieces[at]
    with_failure = [*pieces[:at], (False, *rest), *pieces[at + 1 :]]
    with_success = [*pieces[:at], (True, *rest), *pieces[at + 1 :]]
    assert score(with_success, policy) >= score(with_failure, policy) - 1e-9  # type: ignore[arg-type]


@given(PIECES, st.floats(0.001, 100))
def test_a_further_success_never_lowers_the_share_of_successes(pieces: list[Piece], weight: float) -> None:
    seen = after(pieces)
    more = observe(seen, POLICY, is_success=True, response_s=None, weight=weight, at_s=seen.at_s)
    assert score_of(more, POLICY).success_share >= score_of(seen, POLICY).success_share - 1e-9


@given(PIECES, st.floats(0, 5), st.floats(0, 5))
def test_a_quicker_answer_never_lowers_a_score(pieces: list[Piece], one_s: float, other_s: float) -> None:
    slow, quick = max(one_s, other_s), min(one_s, other_s)
    assert score([*pieces, (True, quick, 1.0, 0.0)]) >= score([*pieces, (True, slow, 1.0, 0.0)]) - 1e-9


@given(PIECES)
def test_without_news_every_score_returns_to_the_prior(pieces: list[Piece]) -> None:
    seen = after(pieces)
    later = decayed(seen, seen.at_s + 40 * HOUR_S, POLICY)
    assert score_of(later, POLICY).score == pytest.approx(POLICY.prior, abs=1e-6)


@given(
    st.lists(
        st.tuples(st.booleans(), st.none() | st.floats(0, 10), st.floats(0.1, 5), st.floats(0, HOUR_S)),
        max_size=5,
    )
)
def test_the_order_of_arrival_makes_no_difference(pieces: list[Piece]) -> None:
    scores = [score(list(order)) for order in permutations(pieces)]
    assert max(scores) - min(scores) < 1e-9


def test_late_news_weigh_as_much_as_if_they_had_come_in_time() -> None:
    seen = after([(True, None, 1.0, 10 * HOUR_S), (False, None, 1.0, 9 * HOUR_S)])
    assert seen.at_s == 10 * HOUR_S
    assert seen.samples == pytest.approx(1.5)
    assert seen.successes == pytest.approx(1.0)


def test_an_observation_weighs_half_after_its_half_life() -> None:
    seen = after([(True, 5.0, 8.0, 0.0)])
    later = decayed(seen, HOUR_S, POLICY)
    assert (later.samples, later.successes, later.timed, later.slowness) == pytest.approx((4, 4, 4, 4))


def test_a_clock_that_goes_back_changes_nothing() -> None:
    seen = after([(True, None, 1.0, HOUR_S)])
    assert decayed(seen, 0.0, POLICY) is seen


# --- levels ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "level"),
    [(0.0, "restricted"), (0.29, "restricted"), (0.3, "limited"), (0.39, "limited"), (0.4, "normal"),
     (0.5, "normal"), (0.79, "normal"), (0.8, "trusted"), (1.0, "trusted")],
)  # fmt: skip
def test_a_score_has_one_level(value: float, level: str) -> None:
    assert level_of(value, None, POLICY).level == level
    assert level_of(value, "unheard-of", POLICY).level == level


@pytest.mark.parametrize(
    ("value", "before", "level"),
    [
        (0.39, "normal", "limited"),
        (0.41, "limited", "limited"),
        (0.449, "limited", "limited"),
        (0.45, "limited", "normal"),
        (0.41, "normal", "normal"),
        (0.34, "restricted", "restricted"),
        (0.36, "restricted", "limited"),
        (0.46, "restricted", "normal"),
        (0.82, "restricted", "normal"),
        (0.9, "restricted", "trusted"),
        (0.1, "trusted", "restricted"),
        (0.79, "trusted", "normal"),
    ],
)
def test_down_at_once_and_up_with_a_margin(value: float, before: str, level: str) -> None:
    assert level_of(value, before, POLICY).level == level


@given(st.floats(0, 1), st.sampled_from([None, "restricted", "limited", "normal", "trusted"]))
def test_a_level_is_stable_and_never_above_its_score(value: float, before: str | None) -> None:
    names = [each.level for each in POLICY.levels]
    got = level_of(value, before, POLICY)
    assert level_of(value, got.level, POLICY) == got
    assert names.index(got.level) <= names.index(level_of(value, None, POLICY).level)


def test_the_border_is_crossed_once_by_a_score_that_trembles() -> None:
    level, changes = "normal", 0
    for step in range(100):
        now = level_of(0.4 + (0.01 if step % 2 else -0.01), level, POLICY).level
        changes += now != level
        level = now
    assert changes == 1


# --- the way back ---------------------------------------------------------------------------------------------------


def test_a_bad_hour_is_no_life_sentence() -> None:
    worst = after([(False, 86_400.0, 100.0, 0.0)] * 10_000)
    restricted = level_of(score_of(worst, POLICY).score, "normal", POLICY)
    assert restricted.level == "restricted"
    target = target_above(restricted, POLICY)
    assert target == pytest.approx(0.35)
    # docs/policy.md says these
    assert wait_until_s(worst, 0.35, POLICY) == 5.25 * HOUR_S
    assert wait_until_s(worst, 0.45, POLICY) == 7.25 * HOUR_S


@given(PIECES, st.floats(0, 1))
def test_after_the_wait_that_was_told_the_score_is_there(pieces: list[Piece], target: float) -> None:
    seen = after(pieces)
    wait_s = wait_until_s(seen, target, POLICY)
    if wait_s is not None:
        assert score_of(decayed(seen, seen.at_s + wait_s, POLICY), POLICY).score >= target
    else:
        assert score_of(seen, POLICY).score < target


def test_waiting_leads_nowhere_above_the_prior() -> None:
    assert wait_until_s(after(failures(3)), 0.51, POLICY) is None
    assert wait_until_s(NOTHING, 0.2, POLICY) == 0


@pytest.mark.parametrize("target", [0.35, 0.45, 0.6])
def test_the_successes_that_were_told_are_needed_and_enough(target: float) -> None:
    start = after(failures(6))
    count = successes_until(start, target, POLICY)
    assert count is not None
    reached = after([(True, 0.0, 1.0, 0.0)] * count, start=start)
    assert score_of(reached, POLICY).score >= target
    short = after([(True, 0.0, 1.0, 0.0)] * (count - 1), start=start)
    assert score_of(short, POLICY).score < target


def test_a_target_next_to_the_prior_is_not_reached_by_waiting() -> None:
    seen = after(failures(60))
    assert wait_until_s(seen, POLICY.prior - 1e-18, POLICY) is None
    assert (
        wait_until_s(
            seen, math.nextafter(POLICY.prior, 0), POLICY.model_copy(update={"prior_samples": 1e-30})
        )
        is None
    )


def test_what_is_reached_needs_no_success() -> None:
    assert successes_until(NOTHING, 0.4, POLICY) == 0


def test_some_scores_cannot_be_earned() -> None:
    assert successes_until(NOTHING, 1.0, POLICY) is None


def test_above_the_highest_level_is_nothing() -> None:
    assert target_above(POLICY.levels[-1], POLICY) is None
    assert target_above(TrustLevel(level="normal", below=0.8), POLICY) == pytest.approx(0.85)
