"""Another machine becomes the head by itself: a third one runs Sentinel, and two of the three miss the head.

Each test begins with MainPC as the head, prints its times beside the bar and fails at three times the bar only.
"""

import time
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.hosts.crowd import CLIENTS, Crowd
from tests.hosts.heads import SLACK, TAKEOVER_S, HeadStage, Writer, role_of
from tests.hosts.hosts import Host
from tests.hosts.long.conftest import Show
from tests.hosts.long.witness import AGREE_S, Sentinels, heads_with_witness
from tests.hosts.ray_cluster import CLUSTER_FILE
from tests.hosts.waiting import wait_until
from zejzl_ray.testing.history import Action, Outcome

BOTH_ASK_S = 10.0  # for so long clients ask on both sides of the cut
_COMMAND_LIMIT_S = 150.0
_BACK_S = 15.0
_TOLD = {"StoreUnavailable", "ServiceUnavailable", "DeadlineExceeded"}

pytestmark = pytest.mark.timeout(420)


class Stage:
    """The cluster, its writers and the three Sentinels."""

    def __init__(self, heads: HeadStage, sentinels: Sentinels) -> None:
        self.heads, self.sentinels = heads, sentinels
        self.cluster, self.mainpc, self.pc2 = heads.cluster, heads.mainpc, heads.pc2

    def boot(self) -> None:
        """Switch mainpc on again, with everything that its units start."""
        self.mainpc.boot()
        self.cluster.start_redis(self.mainpc)
        self.sentinels.start(self.mainpc)
        self.mainpc.run("setsid zejzl node run >~/run.log 2>&1 </dev/null &")

    def wait_agreed(self, head: Host) -> None:
        """Wait until all three Sentinels name one primary."""
        wait_until(
            lambda: all(self.sentinels.primary(host) == head.address for host in self.sentinels.hosts),
            limit_s=AGREE_S,
            what=f"all Sentinels name {head.address}",
        )

    def hand_back(self) -> float:
        """Make mainpc the head again; return the seconds until every service is ready there."""
        wait_until(lambda: role_of(self.mainpc) == ("worker", "up"), limit_s=90, what="mainpc is a worker")
        self.wait_agreed(self.pc2)
        self.heads.writers["mainpc"] = Writer(self.mainpc)
        began_s = time.time()
        self.pc2.run("zejzl cluster handback", timeout_s=_COMMAND_LIMIT_S)
        self.heads.writers["mainpc"].first_after(began_s, SLACK * TAKEOVER_S)
        ready_s = self.heads.wait_ready(self.mainpc, began_s)
        wait_until(lambda: role_of(self.pc2) == ("worker", "up"), limit_s=60, what="pc2 is a worker again")
        self.wait_agreed(self.mainpc)
        return ready_s

    def begin(self) -> None:
        """See to it that mainpc is the head."""
        if role_of(self.mainpc) != ("head", "up"):
            self.hand_back()

    def logs(self) -> str:
        """Return what there is to read after a failure."""
        return f"{self.heads.logs()}\n{self.sentinels.logs()}"

    def told(self, since_s: float) -> Counter[str]:
        """Return which errors the writers were told after a moment, and how often."""
        rows = (row for writer in self.heads.writers.values() for row in writer.rows())
        return Counter(str(row["error"]) for row in rows if "error" in row and row["at_s"] > since_s)


@pytest.fixture(scope="module")
def stage(prefix: str) -> Iterator[Stage]:
    with heads_with_witness(f"{prefix}w") as (heads, sentinels):
        yield Stage(heads, sentinels)


def test_a_head_that_is_lost_for_good_is_replaced_without_a_hand_and_comes_back_as_a_worker(
    stage: Stage, show: Show
) -> None:
    stage.begin()
    lost_s = time.time()
    stage.mainpc.kill()
    stage.mainpc.unplug()
    first_s = stage.heads.writers["pc2"].first_after(lost_s, SLACK * TAKEOVER_S) - lost_s
    ready_s = stage.heads.wait_ready(stage.pc2, lost_s)
    show(
        f"mainpc lost: a write acknowledged on pc2 after {first_s:.1f} s, all services and the ingress there after "
        f"{ready_s:.1f} s (bar {TAKEOVER_S:g} s)"
    )
    assert ready_s <= SLACK * TAKEOVER_S
    assert set(stage.heads.services(stage.pc2).values()) == {"pc2"}
    assert stage.heads.lost(stage.pc2) == set()
    show(f"{len(stage.heads.acknowledged())} writes acknowledged, 0 lost; told {dict(stage.told(lost_s))}")
    assert set(stage.told(lost_s)) <= _TOLD

    stage.mainpc.plug()
    booted_s = time.time()
    stage.boot()
    wait_until(lambda: role_of(stage.mainpc) == ("worker", "up"), limit_s=90, what="mainpc is a worker")
    show(f"mainpc switched on: a worker of pc2 after {time.time() - booted_s:.1f} s")
    back_s = time.time()
    ready_s = stage.hand_back()
    show(
        f"handback: all ready after {ready_s:.1f} s, longest refusal {stage.heads.longest_gap_s(back_s):.1f} s"
    )
    assert stage.heads.lost(stage.mainpc) == set()
    assert role_of(stage.mainpc) == ("head", "up")


def test_a_head_behind_a_cut_cable_acknowledges_nothing_while_another_one_does(
    stage: Stage, show: Show
) -> None:
    stage.begin()
    with Crowd(stage.cluster, is_local=True) as crowd:
        stage.mainpc.unplug()
        cut_s, lost_s = time.monotonic(), time.time()
        ready_s = stage.heads.wait_ready(stage.pc2, lost_s)
        since_s = time.monotonic()
        wait_until(
            lambda: crowd.are_all_answered(since_s, CLIENTS["pc2"]), limit_s=30, what="pc2's clients write"
        )
        time.sleep(BOTH_ASK_S)  # that is the fault
        healed_s = time.monotonic()
        stage.mainpc.plug()
        wait_until(lambda: role_of(stage.mainpc) == ("worker", "up"), limit_s=90, what="mainpc is a worker")
        back_s = time.monotonic() - healed_s
        calls = crowd.calls()
        verdict = crowd.verdict(stage.pc2)
    asked = [call for call in calls if call.began_s > cut_s and call.ended_s < healed_s]
    told = Counter((call.client[0], call.outcome) for call in asked)
    show(
        f"mainpc's cable cut: pc2 is the head after {ready_s:.1f} s; the cable back: a worker after {back_s:.1f} s"
    )
    show(
        f"answered meanwhile: {told['m', Outcome.OK]} on mainpc, {told['p', Outcome.OK]} on pc2; "
        f"{verdict.acknowledged} acknowledged of {verdict.calls} calls, {dict(verdict.errors)}"
    )
    assert verdict.faults == ()
    assert told["p", Outcome.OK] > 20
    assert told["m", Outcome.UNKNOWN] > 5
    alone = [call for call in asked if call.client[0] == "m" and call.outcome is Outcome.OK]
    assert [call for call in alone if call.action is not Action.RENEW] == []
    assert stage.heads.lost(stage.pc2) == set()


def test_a_primary_that_is_lost_alone_takes_its_head_with_it_and_one_command_stops_all(
    stage: Stage, show: Show
) -> None:
    stage.begin()
    lost_s = time.time()
    stage.mainpc.run("pkill -9 -f 'redis-serve[r] .*:6380'")  # nothing starts it again
    first_s = stage.heads.writers["pc2"].first_after(lost_s, SLACK * TAKEOVER_S) - lost_s
    ready_s = stage.heads.wait_ready(stage.pc2, lost_s)
    show(
        f"primary lost: a write acknowledged on pc2 after {first_s:.1f} s, all ready there after {ready_s:.1f} s "
        f"(bar {TAKEOVER_S:g} s)"
    )
    assert stage.heads.lost(stage.pc2) == set()
    show(f"{len(stage.heads.acknowledged())} writes acknowledged, 0 lost; told {dict(stage.told(lost_s))}")
    assert set(stage.told(lost_s)) <= _TOLD
    wait_until(
        lambda: role_of(stage.mainpc) == ("worker", "up"), limit_s=90, what="mainpc is a worker of pc2"
    )

    stage.mainpc.run(f"zejzl cluster down {CLUSTER_FILE}", timeout_s=_COMMAND_LIMIT_S)
    time.sleep(_BACK_S)  # whoever would come back has had the time for it
    for host in (stage.mainpc, stage.pc2):
        left = [line for line in host.processes() if "raylet" in line or "gcs_server" in line]
        assert left == [], f"{host.name} still runs Ray"
