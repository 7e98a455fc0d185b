"""Health of the hub: what is checked, and the reason when it is not well."""

from dataclasses import dataclass
from typing import Final

from zejzl_ray.contracts.health import Check, CheckStatus, ServiceHealth

_LATE_TICKS: Final = 10


@dataclass(frozen=True, slots=True)
class Condition:
    """What the hub knows of itself.

    Attributes:
        store_fault: why the store was of no use the last time; empty when it was.
        commit_s: how long the last commit took.
        fleet_fault: why states of agents are not known; empty when they are.
        ticked_at_s: wall time of the last complete tick; None before the first.
    """

    is_serving: bool
    is_fenced: bool
    store_fault: str
    commit_s: float
    fleet_fault: str
    ticked_at_s: float | None
    tick_s: float
    now_s: float


def judge_health(
    condition: Condition, *, service: str, epoch: int, pid: int, started_at_s: float
) -> ServiceHealth:
    """Return the health that follows from a condition; ready when no check has failed."""
    checks = (_writer(condition), _store(condition), _fleet(condition), _loop(condition))
    return ServiceHealth(
        service=service,
        is_ready=all(check.status is not CheckStatus.FAILED for check in checks),
        checks=checks,
        epoch=epoch,
        pid=pid,
        started_at_s=started_at_s,
    )


def _writer(condition: Condition) -> Check:
    if condition.is_fenced:
        return Check(name="writer", status=CheckStatus.FAILED, reason="another instance has taken over")
    if not condition.is_serving:
        return Check(name="writer", status=CheckStatus.FAILED, reason="not started, or stopping")
    return Check(name="writer", status=CheckStatus.OK)


def _store(condition: Condition) -> Check:
    if condition.store_fault:
        return Check(name="store", status=CheckStatus.FAILED, reason=condition.store_fault)
    return Check(
        name="store", status=CheckStatus.OK, reason=f"last commit {condition.commit_s * 1000:.1f} ms"
    )


def _fleet(condition: Condition) -> Check:
    if condition.fleet_fault:
        reason = f"states of agents are not known: {condition.fleet_fault}"
        return Check(name="fleet", status=CheckStatus.DEGRADED, reason=reason)
    return Check(name="fleet", status=CheckStatus.OK)


def _loop(condition: Condition) -> Check:
    if condition.ticked_at_s is None:
        return Check(name="upkeep", status=CheckStatus.OK, reason="no tick yet")
    age_s = condition.now_s - condition.ticked_at_s
    if age_s <= _LATE_TICKS * condition.tick_s:
        return Check(name="upkeep", status=CheckStatus.OK)
    return Check(name="upkeep", status=CheckStatus.DEGRADED, reason=f"the last tick was {age_s:.0f} s ago")
