"""What a score leads to, shown with its reason and the way back."""

from typing import Final

from zejzl_ray.contracts.access import GOOD_STANDING, Standing
from zejzl_ray.contracts.policy import TrustLevel, TrustPolicy
from zejzl_ray.contracts.trust import Trust
from zejzl_ray.security.trust_records import TrustRecord
from zejzl_ray.security.trust_score import (
    NOTHING,
    Score,
    Seen,
    decayed,
    level_of,
    score_of,
    successes_until,
    target_above,
    wait_until_s,
)

_MINUTE_S: Final = 60
_HOUR_S: Final = 3600


def standing_of(record: TrustRecord, policy: TrustPolicy, now_s: float) -> Standing:
    """Return what a subject's trust allows now, and why."""
    score = score_of(decayed(record.seen, now_s, policy), policy).score
    level = level_of(score, record.standing.level, policy)
    return standing_at(record, policy, now_s, level, record.last_reason)


def standing_at(
    record: TrustRecord, policy: TrustPolicy, now_s: float, level: TrustLevel, reason: str
) -> Standing:
    """Return what a level allows a subject; ``reason`` is the last news of it."""
    score = score_of(decayed(record.seen, now_s, policy), policy).score
    return Standing(
        subject=record.subject,
        score=score,
        level=level.level,
        can_write=level.can_write,
        rate_ratio=level.rate_ratio,
        priority=level.priority,
        max_lease_ratio=level.max_lease_ratio,
        reason=f"Its score is {score:.2f}" + (f"; the last news was: {reason}." if reason else "."),
    )


def is_same(one: Standing, other: Standing) -> bool:
    """Return whether two standings allow the same; score and reason may differ."""
    return all(
        getattr(one, name) == getattr(other, name)
        for name in ("level", "can_write", "rate_ratio", "priority", "max_lease_ratio")
    )


def view(record: TrustRecord, policy: TrustPolicy, now_s: float) -> Trust:
    """Return a subject's trust as it is now."""
    seen = decayed(record.seen, now_s, policy)
    return _trust(
        seen, standing_of(record, policy, now_s), policy, is_known=True, updated_at_s=record.updated_at_s
    )


def view_of_unknown(subject: str, policy: TrustPolicy) -> Trust:
    """Return what holds for a subject on which nobody has reported."""
    standing = GOOD_STANDING.model_copy(
        update={
            "subject": subject,
            "score": score_of(NOTHING, policy).score,
            "reason": "Nobody has reported on it.",
        }
    )
    return _trust(NOTHING, standing, policy, is_known=False, updated_at_s=None)


def _trust(
    seen: Seen, standing: Standing, policy: TrustPolicy, *, is_known: bool, updated_at_s: float | None
) -> Trust:
    score: Score = score_of(seen, policy)
    return Trust(
        subject=standing.subject,
        score=score.score,
        success_share=score.success_share,
        speed=score.speed,
        samples=seen.samples,
        is_known=is_known,
        standing=standing,
        way_back=_way_back(seen, standing, policy),
        updated_at_s=updated_at_s,
    )


def _way_back(seen: Seen, standing: Standing, policy: TrustPolicy) -> str:
    """Say what leads to the next level."""
    index = next(index for index, level in enumerate(policy.levels) if level.level == standing.level)
    target = target_above(policy.levels[index], policy)
    if target is None:
        return ""
    ways = []
    successes = successes_until(seen, target, policy)
    if successes is not None:
        ways.append(f"{successes} success{'es' if successes != 1 else ''} in a row, each answered at once")
    wait_s = wait_until_s(seen, target, policy)
    if wait_s is not None:
        ways.append(f"about {_duration(wait_s)} without news")
    following = policy.levels[index + 1].level
    return f"It is {following} at a score of {target:.2f}: after {', or '.join(ways) or 'a reset by an operator'}."


def _duration(seconds: float) -> str:
    minutes = max(1, round(seconds / _MINUTE_S))
    if seconds < _HOUR_S:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"
