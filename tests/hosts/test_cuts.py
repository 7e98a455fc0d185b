"""Clients of both sides write while the cable is cut and while Redis is killed: nothing acknowledged is lost.

A checker (``zejzl_ray.testing.history``) reads what all were told. Each test leaves both machines in the cluster.
"""

import time
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.hosts.conftest import Tell
from tests.hosts.crowd import CLIENTS, Crowd
from tests.hosts.full_cpu import full_cpu, lives, load_ratio
from tests.hosts.stage import REJOIN_S, SILENT_FAILOVER_S, SLACK, Stage
from tests.hosts.waiting import wait_until
from zejzl_ray.testing.history import Outcome, Verdict

CUT_S = 20.0
BACK_S = 10.0
REDIS_AWAY_S = 2.0
BUSY_S = 15.0  # `python -m benchmarks.full_cpu` does it for 10 minutes
_MANY = 40

pytestmark = pytest.mark.timeout(360)


def test_a_cable_that_is_cut_for_20_s_moves_the_services_gives_no_name_two_owners_and_loses_no_write(
    stage: Stage, tell: Tell
) -> None:
    stage.home_s()
    with Crowd(stage.cluster) as crowd:
        _wait_for_writes(crowd, 0.0)
        cut_s, lost_at_s = time.monotonic(), time.time()
        stage.pc2.unplug()
        failover_s = stage.failover_s(lost_at_s, SLACK * SILENT_FAILOVER_S)
        time.sleep(max(0.0, cut_s + CUT_S - time.monotonic()))  # that is the fault
        plugged_s, plugged_at_s = time.monotonic(), time.time()
        stage.pc2.plug()
        _wait_for_writes(crowd, plugged_s)
        back_s = time.monotonic() - plugged_s
        rejoin_s = stage.rejoin_s(plugged_at_s)
        calls = crowd.calls()
        verdict = crowd.verdict()
    during = Counter(
        call.client[0]
        for call in calls
        if call.outcome is Outcome.OK and call.began_s > cut_s + 1 and call.ended_s < plugged_s
    )

    tell("pc2 unplugged, its services answer from mainpc", failover_s, SILENT_FAILOVER_S)
    tell("pc2 plugged in, a member again", rejoin_s, REJOIN_S)
    _show(tell, "clients of pc2 are answered again", back_s, BACK_S, verdict)
    assert verdict.faults == ()
    assert during["m"] > _MANY  # the head's side went on
    assert during["p"] == 0
    assert verdict.grants > 5


def test_redis_that_is_killed_and_restarted_under_load_loses_no_write_and_callers_are_told(
    stage: Stage, tell: Tell
) -> None:
    with Crowd(stage.cluster) as crowd:
        _wait_for_writes(crowd, 0.0)
        stage.mainpc.run("pkill -9 redis-server")
        time.sleep(REDIS_AWAY_S)  # that is the fault
        stage.cluster.start_redis()
        started_s = time.monotonic()
        _wait_for_writes(crowd, started_s)
        back_s = time.monotonic() - started_s
        verdict = crowd.verdict()

    _show(tell, "clients are answered again", back_s, BACK_S, verdict)
    assert verdict.faults == ()
    # a delay that is longer than a client waits is a deadline that was missed
    assert set(verdict.errors) <= {"StoreUnavailable", "DeadlineExceeded"}


@pytest.fixture(autouse=True)
def _members(stage: Stage) -> Iterator[None]:
    yield
    wait_until(lambda: stage.members() == ["mainpc", "pc2"], limit_s=60, what="both are members")


def _wait_for_writes(crowd: Crowd, since_s: float) -> None:
    """Wait until every client has been told of writes that it asked for after a moment."""

    def answered() -> bool:
        told = Counter(
            call.client[:2] for call in crowd.calls() if call.began_s > since_s and call.outcome is Outcome.OK
        )
        return all(told[name] >= 5 for names in CLIENTS.values() for name in names)

    wait_until(answered, limit_s=SLACK * BACK_S, what="every client writes")


def _show(tell: Tell, what: str, took_s: float, bar_s: float, verdict: Verdict) -> None:
    told = f"{verdict.acknowledged} acknowledged of {verdict.calls} calls, {dict(verdict.errors)}"
    tell(f"{what} ({told})", took_s, bar_s)


def test_nobody_is_taken_for_dead_while_every_core_is_busy(stage: Stage) -> None:
    before = lives(stage.cluster)
    with full_cpu(stage.cluster):
        busy = load_ratio(BUSY_S)

    assert busy > 0.9
    assert lives(stage.cluster) == before
