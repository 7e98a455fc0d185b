"""Health of the gateway: what is checked, and the reason when it is not well."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from zejzl_ray.contracts.health import Check, CheckStatus, ServiceHealth

_LATE_TICKS: Final = 10


@dataclass(frozen=True, slots=True)
class Condition:
    """What the service knows of itself.

    Attributes:
        store_fault: why the store was of no use the last time; empty when it was.
        commit_s: how long the last commit took.
        key_fault: why nothing can be signed; empty when it can.
        master_fault: what of the records the master keys do not open; empty when they open all.
        ticked_at_s: wall time of the last complete tick; null before the first.
        tick_fault: what the last tick stumbled over; empty for a complete one.
    """

    is_serving: bool
    is_fenced: bool
    store_fault: str
    commit_s: float
    key_fault: str
    master_fault: str
    queued: int
    max_queue: int
    ticked_at_s: float | None
    tick_s: float
    tick_fault: str
    now_s: float


def judge_health(
    condition: Condition, further: Sequence[Check], *, service: str, epoch: int, pid: int, started_at_s: float
) -> ServiceHealth:
    """Return the health that follows from a condition; ready when no check has failed."""
    checks = (
        _serving(condition),
        _failed_or_ok("store", condition.store_fault, f"last commit {condition.commit_s * 1000:.1f} ms"),
        _failed_or_ok("signing_key", condition.key_fault),
        _failed_or_ok("master_key", condition.master_fault),
        _queue(condition),
        _loop(condition),
        *further,
    )
    return ServiceHealth(
        service=service,
        is_ready=all(check.status is not CheckStatus.FAILED for check in checks),
        checks=checks,
        epoch=epoch,
        pid=pid,
        started_at_s=started_at_s,
    )


def _failed_or_ok(name: str, fault: str, otherwise: str = "") -> Check:
    status = CheckStatus.FAILED if fault else CheckStatus.OK
    return Check(name=name, status=status, reason=fault or otherwise)


def _serving(condition: Condition) -> Check:
    if condition.is_fenced:
        return _failed_or_ok("writer", "another instance has taken over")
    return _failed_or_ok("writer", "" if condition.is_serving else "not started, or stopping")


def _queue(condition: Condition) -> Check:
    if condition.queued * 2 < condition.max_queue:
        return Check(name="queue", status=CheckStatus.OK)
    return Check(
        name="queue",
        status=CheckStatus.DEGRADED,
        reason=f"{condition.queued} of {condition.max_queue} commands wait for the store",
    )


def _loop(condition: Condition) -> Check:
    if condition.tick_fault:
        return Check(name="upkeep", status=CheckStatus.DEGRADED, reason=condition.tick_fault)
    if condition.ticked_at_s is None:
        return Check(name="upkeep", status=CheckStatus.OK, reason="no tick yet")
    age_s = condition.now_s - condition.ticked_at_s
    if age_s <= _LATE_TICKS * condition.tick_s:
        return Check(name="upkeep", status=CheckStatus.OK)
    return Check(name="upkeep", status=CheckStatus.DEGRADED, reason=f"the last tick was {age_s:.0f} s ago")
