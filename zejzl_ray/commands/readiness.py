"""Health of a service that runs commands: what every such service checks, and the reason when it is not well."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from zejzl_ray.contracts.health import Check, CheckStatus, ServiceHealth

_LATE_TICKS: Final = 10


@dataclass(frozen=True, slots=True)
class Condition:
    """What a service knows of itself.

    Attributes:
        store_fault: why the store was of no use the last time; empty when it was.
        store_weakness: why acknowledged commits are less safe than was asked for; empty when they are not.
        commit_s: how long the last commit took.
        ticked_at_s: wall time of the last complete tick; None before the first.
        queued: commands that wait for the store.
        max_queue: how many may wait; None where the service has no queue.
        tick_fault: what the last tick stumbled over; empty for a complete one.
        further: checks of the service's own.
    """

    is_serving: bool
    is_fenced: bool
    store_fault: str
    store_weakness: str
    commit_s: float
    ticked_at_s: float | None
    tick_s: float
    now_s: float
    queued: int = 0
    max_queue: int | None = None
    tick_fault: str = ""
    further: tuple[Check, ...] = ()


def judge_health(
    condition: Condition, *, service: str, epoch: int, pid: int, started_at_s: float
) -> ServiceHealth:
    """Return the health that follows from a condition; ready when no check has failed."""
    checks = (*_checks(condition), *condition.further)
    return ServiceHealth(
        service=service,
        is_ready=all(check.status is not CheckStatus.FAILED for check in checks),
        checks=checks,
        epoch=epoch,
        pid=pid,
        started_at_s=started_at_s,
    )


def failed_or_ok(name: str, fault: str, otherwise: str = "") -> Check:
    """Return a check that keeps the service from being ready while there is a fault."""
    status = CheckStatus.FAILED if fault else CheckStatus.OK
    return Check(name=name, status=status, reason=fault or otherwise)


def degraded_or_ok(name: str, fault: str, otherwise: str = "") -> Check:
    """Return a check that shows a fault with which the service can still do its work."""
    status = CheckStatus.DEGRADED if fault else CheckStatus.OK
    return Check(name=name, status=status, reason=fault or otherwise)


def _checks(condition: Condition) -> Iterator[Check]:
    if condition.is_fenced:
        yield failed_or_ok("writer", "another instance has taken over")
    else:
        yield failed_or_ok("writer", "" if condition.is_serving else "not started, or stopping")
    yield _store(condition)
    if condition.max_queue is not None:
        is_long = condition.queued * 2 >= condition.max_queue
        waiting = f"{condition.queued} of {condition.max_queue} commands wait for the store"
        yield degraded_or_ok("queue", waiting if is_long else "")
    yield _upkeep(condition)


def _store(condition: Condition) -> Check:
    if condition.store_weakness and not condition.store_fault:
        return degraded_or_ok("store", condition.store_weakness)
    return failed_or_ok("store", condition.store_fault, f"last commit {condition.commit_s * 1000:.1f} ms")


def _upkeep(condition: Condition) -> Check:
    if condition.tick_fault or condition.ticked_at_s is None:
        return degraded_or_ok("upkeep", condition.tick_fault, "no tick yet")
    age_s = condition.now_s - condition.ticked_at_s
    is_late = age_s > _LATE_TICKS * condition.tick_s
    return degraded_or_ok("upkeep", f"the last tick was {age_s:.0f} s ago" if is_late else "")
