from dataclasses import replace
from typing import Any

import pytest

from zejzl_ray.commands.readiness import Condition, degraded_or_ok, failed_or_ok, judge_health
from zejzl_ray.contracts.health import CheckStatus, ServiceHealth

WELL = Condition(
    is_serving=True,
    is_fenced=False,
    store_fault="",
    store_weakness="",
    commit_s=0.001,
    queued=0,
    max_queue=100,
    ticked_at_s=99.0,
    tick_s=1.0,
    now_s=100.0,
)


def health(**fields: Any) -> ServiceHealth:
    return judge_health(replace(WELL, **fields), service="s", epoch=3, pid=7, started_at_s=1.0)


def test_a_service_that_is_well_says_so_in_every_check() -> None:
    found = health(further=(degraded_or_ok("fleet", ""), failed_or_ok("signing_key", "")))
    assert found.is_ready
    assert [check.name for check in found.checks] == [
        "writer", "store", "queue", "upkeep", "fleet", "signing_key",
    ]  # fmt: skip
    assert {check.status for check in found.checks} == {CheckStatus.OK}
    assert (found.service, found.epoch, found.pid, found.started_at_s) == ("s", 3, 7, 1.0)


def test_a_service_without_a_queue_has_no_check_of_one() -> None:
    assert [check.name for check in health(max_queue=None).checks] == ["writer", "store", "upkeep"]


@pytest.mark.parametrize(
    ("fields", "check", "status", "reason"),
    [
        ({"is_serving": False}, "writer", CheckStatus.FAILED, "not started"),
        ({"is_fenced": True}, "writer", CheckStatus.FAILED, "another instance"),
        ({"store_fault": "away"}, "store", CheckStatus.FAILED, "away"),
        ({"queued": 50}, "queue", CheckStatus.DEGRADED, "50 of 100"),
        ({"ticked_at_s": 80.0}, "upkeep", CheckStatus.DEGRADED, "20 s ago"),
        ({"ticked_at_s": None}, "upkeep", CheckStatus.OK, "no tick yet"),
        ({"tick_fault": "keys: away"}, "upkeep", CheckStatus.DEGRADED, "keys: away"),
        ({"tick_fault": "x", "ticked_at_s": None}, "upkeep", CheckStatus.DEGRADED, "x"),
        ({"further": (degraded_or_ok("own", "slow"),)}, "own", CheckStatus.DEGRADED, "slow"),
        ({"further": (failed_or_ok("own", "broken"),)}, "own", CheckStatus.FAILED, "broken"),
    ],
)
def test_every_fault_is_named_with_its_reason(
    fields: dict[str, Any], check: str, status: CheckStatus, reason: str
) -> None:
    found = health(**fields)
    named = {each.name: each for each in found.checks}[check]
    assert named.status is status
    assert reason in named.reason
    assert found.is_ready is (status is not CheckStatus.FAILED)


def test_a_store_that_promises_less_than_was_asked_for_degrades_and_one_that_is_of_no_use_fails() -> None:
    weak = health(store_weakness="1 of 1 replicas are away").checks[1]
    assert (weak.name, weak.status, weak.reason) == (
        "store",
        CheckStatus.DEGRADED,
        "1 of 1 replicas are away",
    )
    assert health(store_weakness="away").is_ready
    gone = health(store_weakness="away", store_fault="gone").checks[1]
    assert (gone.status, gone.reason) == (CheckStatus.FAILED, "gone")
