from dataclasses import replace
from typing import Any

import pytest

from zejzl_ray.contracts.health import CheckStatus, ServiceHealth
from zejzl_ray.contracts.orchestrator import OPERATIONS
from zejzl_ray.orchestrator import CoreOrchestrator
from zejzl_ray.orchestrator.readiness import Condition, judge_health


def health(**fields: Any) -> ServiceHealth:
    well = Condition(
        is_serving=True,
        is_fenced=False,
        store_fault="",
        commit_s=0.001,
        queued=0,
        max_queue=100,
        ticked_at_s=99.0,
        tick_s=1.0,
        alarm="",
        now_s=100.0,
    )
    return judge_health(replace(well, **fields), service="s", epoch=3, pid=7, started_at_s=1.0)


def test_a_service_that_is_well_says_so_in_every_check() -> None:
    found = health()
    assert found.is_ready
    assert {check.status for check in found.checks} == {CheckStatus.OK}
    assert (found.epoch, found.pid) == (3, 7)


@pytest.mark.parametrize(
    ("fields", "check", "status", "is_ready"),
    [
        ({"is_serving": False}, "writer", CheckStatus.FAILED, False),
        ({"is_fenced": True}, "writer", CheckStatus.FAILED, False),
        ({"store_fault": "away"}, "store", CheckStatus.FAILED, False),
        ({"queued": 50}, "queue", CheckStatus.DEGRADED, True),
        ({"ticked_at_s": 80.0}, "upkeep", CheckStatus.DEGRADED, True),
        ({"ticked_at_s": None}, "upkeep", CheckStatus.OK, True),
        ({"alarm": "too many"}, "protection", CheckStatus.DEGRADED, True),
    ],
)
def test_every_fault_is_named_with_its_reason(
    fields: dict[str, Any], check: str, status: CheckStatus, is_ready: bool
) -> None:
    found = health(**fields)
    by_name = {each.name: each for each in found.checks}
    assert by_name[check].status is status
    assert by_name[check].reason
    assert found.is_ready is is_ready


def test_the_service_has_a_method_for_every_operation() -> None:
    missing = [each.name for each in OPERATIONS if not callable(getattr(CoreOrchestrator, each.name, None))]
    assert missing == []
