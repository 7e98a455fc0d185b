"""The score: what was seen of a subject, weighed by age, and pulled towards the prior as long as little was seen.

``score = 0.7 * successes + 0.3 * speed`` with the shipped weights, where both parts are means over observations that
lose half of their weight in every half-life, with the prior counted in as so many observations. Nothing here reads a
clock or keeps anything.
"""

import math
from bisect import bisect_left
from dataclasses import dataclass
from typing import Final

from zejzl_ray.contracts.policy import TrustLevel, TrustPolicy

_STEPS_IN_HALF_LIFE: Final = 8
_HALF_LIVES: Final = 64
_MOST_SUCCESSES: Final = 1000


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of a subject, in sums whose parts have the weight that they have at ``at_s``.

    Attributes:
        samples: weight of all observations.
        successes: weight of those that went well; never above ``samples``.
        timed: weight of those with a response time.
        slowness: sum over those of weight times slowness, 0 for an answer at once and 1 for one of ``slow_s`` or more.
        at_s: wall time of the newest.
    """

    samples: float = 0.0
    successes: float = 0.0
    timed: float = 0.0
    slowness: float = 0.0
    at_s: float = 0.0


NOTHING: Final = Seen()


@dataclass(frozen=True, slots=True)
class Score:
    """A score and its two parts, each in [0, 1]."""

    score: float
    success_share: float
    speed: float


def observe(
    seen: Seen, policy: TrustPolicy, *, is_success: bool, response_s: float | None, weight: float, at_s: float
) -> Seen:
    """Return what was seen with one observation more.

    One that comes late has the weight of its age, so that the order of arrival makes no difference.

    Args:
        seen: until now.
        policy: half-life, bounds.
        is_success: whether it went well.
        response_s: how long the answer took; null says nothing about speed.
        weight: how many observations it stands for.
        at_s: when it was made; the caller lets no time in that is still to come.
    """
    now_s = max(seen.at_s, at_s)
    base = decayed(seen, now_s, policy)
    own = weight * _left(now_s - at_s, policy)
    slow = 0.0 if response_s is None else own * _clamp(response_s / policy.slow_s)
    return _bounded(
        Seen(
            samples=base.samples + own,
            successes=base.successes + (own if is_success else 0.0),
            timed=base.timed + (0.0 if response_s is None else own),
            slowness=base.slowness + slow,
            at_s=now_s,
        ),
        policy.max_samples,
    )


def decayed(seen: Seen, now_s: float, policy: TrustPolicy) -> Seen:
    """Return what was seen as it weighs now; a clock that went back changes nothing."""
    if now_s <= seen.at_s:
        return seen
    return _scaled(seen, _left(now_s - seen.at_s, policy), now_s)


def score_of(seen: Seen, policy: TrustPolicy) -> Score:
    """Return the score of what was seen, as it weighs in ``seen``; the prior when nothing was."""
    weight = policy.prior_samples
    share = _clamp((seen.successes + policy.prior * weight) / (seen.samples + weight))
    speed = _clamp(1 - (seen.slowness + (1 - policy.prior) * weight) / (seen.timed + weight))
    return Score(_clamp(policy.success_weight * share + policy.speed_weight * speed), share, speed)


def level_of(score: float, before: str | None, policy: TrustPolicy) -> TrustLevel:
    """Return the level of a score.

    Down at once; up again only where the score is above the lower level's ``below`` by the hysteresis, so that a score
    on the border does not change the level with every observation.

    Args:
        score: in [0, 1].
        before: the level until now; null, or a name that the policy does not know: none.
        policy: its levels are not empty, ascend, and the last holds 1.0.
    """
    levels = policy.levels
    reached = next((index for index, level in enumerate(levels) if score < level.below), len(levels) - 1)
    held = next((index for index, level in enumerate(levels) if level.level == before), reached)
    while held < reached and score >= levels[held].below + policy.hysteresis:
        held += 1
    return levels[min(held, reached)]


def target_above(level: TrustLevel, policy: TrustPolicy) -> float | None:
    """Return the score at which a subject of this level gets the next one; null on the highest."""
    return None if level == policy.levels[-1] else level.below + policy.hysteresis


def wait_until_s(seen: Seen, target: float, policy: TrustPolicy) -> float | None:
    """Return after how many seconds without news the score is at ``target``; null: waiting does not lead there.

    Exact to an eighth of a half-life, rounded up.
    """
    if score_of(seen, policy).score >= target:
        return 0.0
    if target >= policy.prior:
        return None
    for step in range(1, _HALF_LIVES * _STEPS_IN_HALF_LIFE + 1):
        wait_s = step * policy.half_life_s / _STEPS_IN_HALF_LIFE
        if score_of(decayed(seen, seen.at_s + wait_s, policy), policy).score >= target:
            return wait_s
    return None


def successes_until(seen: Seen, target: float, policy: TrustPolicy) -> int | None:
    """Return how many successes, each answered at once, lead to ``target``; null: more than 1000.

    Where they are more than ``max_samples``, somewhat fewer may do.
    """
    if score_of(seen, policy).score >= target:
        return 0
    counts = range(1, _MOST_SUCCESSES + 1)
    # More of them never lower the score.
    found = bisect_left(counts, target, key=lambda count: _with_successes(seen, count, policy))
    return counts[found] if found < len(counts) else None


def _with_successes(seen: Seen, count: int, policy: TrustPolicy) -> float:
    more = observe(seen, policy, is_success=True, response_s=0.0, weight=count, at_s=seen.at_s)
    return score_of(more, policy).score


def _left(age_s: float, policy: TrustPolicy) -> float:
    """How much an observation of this age still weighs."""
    return math.exp2(-age_s / policy.half_life_s) if age_s > 0 else 1.0


def _bounded(seen: Seen, most: float) -> Seen:
    return seen if seen.samples <= most else _scaled(seen, most / seen.samples, seen.at_s)


def _scaled(seen: Seen, factor: float, at_s: float) -> Seen:
    return Seen(
        seen.samples * factor, seen.successes * factor, seen.timed * factor, seen.slowness * factor, at_s
    )


def _clamp(value: float) -> float:
    return min(1.0, max(0.0, value))
