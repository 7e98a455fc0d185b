"""What the part of a policy about trust may not say: every score has one level, and every level a way out."""

from collections.abc import Iterator
from typing import Final

from zejzl_ray.contracts.policy import TrustLevel, TrustPolicy
from zejzl_ray.security.policy_problem import Path, PolicyProblem
from zejzl_ray.security.trust_score import level_of

_ORDER: Final = ("restricted", "limited", "normal", "trusted")
_TINY: Final = 1e-9
_AT: Path = ("trust", "levels")


def check_trust(trust: TrustPolicy) -> Iterator[PolicyProblem]:
    """Yield what is wrong with the part about trust."""
    total = trust.success_weight + trust.speed_weight
    if abs(total - 1) > _TINY:
        yield PolicyProblem(
            "trust-weights",
            f"success_weight and speed_weight make {total:g} together, not 1",
            "Change one of them.",
            ("trust", "success_weight"),
        )
    if not trust.levels or trust.levels[-1].below <= 1:
        yield PolicyProblem(
            "trust-top",
            "the last level must hold the score 1.0, so its `below` must be above 1",
            "Write 1.01.",
            (*_AT, len(trust.levels) - 1, "below") if trust.levels else _AT,
        )
        return
    faults = tuple(_order(trust))
    yield from faults
    if faults:
        return
    yield from _resting(trust)
    yield from _ways_out(trust)
    yield from _steps(trust)


def _order(trust: TrustPolicy) -> Iterator[PolicyProblem]:
    for index, (low, high) in enumerate(zip(trust.levels, trust.levels[1:], strict=False), start=1):
        if _ORDER.index(low.level) >= _ORDER.index(high.level):
            message = f"the level {high.level} stands after {low.level}"
            remedy = f"The order is {', '.join(_ORDER)}; each at most once."
            yield PolicyProblem("trust-order", message, remedy, (*_AT, index, "level"))
        if low.below >= high.below:
            message = (
                f"{high.level} begins at {low.below:g} and ends below {high.below:g}, so no score has it"
            )
            yield PolicyProblem("trust-order", message, "Write ascending numbers.", (*_AT, index, "below"))


def _resting(trust: TrustPolicy) -> Iterator[PolicyProblem]:
    """Whoever nobody has reported on is in good standing; its level has to say the same."""
    resting = level_of(trust.prior, None, trust)
    plain = TrustLevel(level="normal", below=resting.below)
    if resting != plain:
        yield PolicyProblem(
            "trust-prior",
            f"a subject that nobody has seen has the score {trust.prior:g}, and its level must be normal, with nothing "
            "added or taken away",
            "Let normal hold the prior, and leave its other values out.",
            (*_AT, trust.levels.index(resting)),
        )


def _ways_out(trust: TrustPolicy) -> Iterator[PolicyProblem]:
    for index, level in enumerate(trust.levels[:-1]):
        back = level.below + trust.hysteresis
        if back > 1 + _TINY:
            yield PolicyProblem(
                "trust-no-way-back",
                f"nobody can leave {level.level}: it takes a score of {back:g}",
                "Lower `below` or the hysteresis.",
                (*_AT, index, "below"),
            )
        elif back >= trust.prior and _ORDER.index(level.level) < _ORDER.index("normal"):
            yield PolicyProblem(
                "trust-waiting",
                f"waiting does not lead out of {level.level}: it takes {back:g}, and a score without news goes to "
                f"{trust.prior:g}",
                "Lower `below` or the hysteresis, if a bad hour should pass by itself.",
                (*_AT, index, "below"),
                is_error=False,
            )


def _steps(trust: TrustPolicy) -> Iterator[PolicyProblem]:
    for index, (low, high) in enumerate(zip(trust.levels, trust.levels[1:], strict=False)):
        better = [
            name
            for name in ("can_write", "rate_ratio", "max_lease_ratio")
            if getattr(low, name) > getattr(high, name)
        ]
        if better:
            yield PolicyProblem(
                "trust-steps",
                f"{low.level} is better off than {high.level}: {', '.join(better)}",
                "Less trust should not give more.",
                (*_AT, index),
                is_error=False,
            )
