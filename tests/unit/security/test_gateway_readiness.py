from dataclasses import replace
from typing import Any

import pytest

from zejzl_ray.contracts.health import Check, CheckStatus, ServiceHealth
from zejzl_ray.security.readiness import Condition, judge_health

WELL = Condition(
    is_serving=True,
    is_fenced=False,
    store_fault="",
    commit_s=0.001,
    key_fault="",
    master_fault="",
    queued=0,
    max_queue=100,
    ticked_at_s=99.0,
    tick_s=1.0,
    tick_fault="",
    now_s=100.0,
)


def health(**fields: Any) -> ServiceHealth:
    return judge_health(
        replace(WELL, **fields),
        (),
        service="security_gateway",
        epoch=3,
        pid=1,
        started_at_s=1.0,
    )


def status(result: ServiceHealth, name: str) -> CheckStatus:
    return next(check.status for check in result.checks if check.name == name)


def test_a_gateway_that_is_well_is_ready() -> None:
    result = health()
    assert result.is_ready
    assert {check.status for check in result.checks} == {CheckStatus.OK}
    assert {"store", "signing_key", "master_key"} <= {check.name for check in result.checks}


@pytest.mark.parametrize(
    ("field", "value", "name"),
    [
        ("is_fenced", True, "writer"),
        ("is_serving", False, "writer"),
        ("store_fault", "away", "store"),
        ("key_fault", "none", "signing_key"),
        ("master_fault", "wrong", "master_key"),
    ],
)
def test_what_keeps_it_from_working_makes_it_unready(field: str, value: object, name: str) -> None:
    result = health(**{field: value})
    assert not result.is_ready
    assert status(result, name) is CheckStatus.FAILED


@pytest.mark.parametrize(
    ("field", "value", "name"),
    [("queued", 50, "queue"), ("ticked_at_s", 80.0, "upkeep"), ("tick_fault", "x", "upkeep")],
)
def test_what_only_slows_it_down_is_shown(field: str, value: object, name: str) -> None:
    result = health(**{field: value})
    assert result.is_ready
    assert status(result, name) is CheckStatus.DEGRADED


def test_before_the_first_tick_nothing_is_late() -> None:
    assert status(health(ticked_at_s=None), "upkeep") is CheckStatus.OK


def test_further_checks_count() -> None:
    failed = Check(name="feed", status=CheckStatus.FAILED)
    result = judge_health(WELL, (failed,), service="s", epoch=1, pid=1, started_at_s=0.0)
    assert not result.is_ready
