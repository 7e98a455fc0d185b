"""What happens when a machine or the head is lost: how long nobody answers, and who comes back by itself.

The cable is cut in ``test_cuts.py``. Each test prints its time beside the bar and fails at three times the bar only:
the two hosts share the cores of one machine with whatever else runs on it. In this order; each leaves both machines in
the cluster.
"""

import time
from collections.abc import Iterator

import pytest

from tests.hosts.conftest import Tell
from tests.hosts.ray_cluster import DATA_DIR
from tests.hosts.stage import HOME_S, OF_PC2, REJOIN_S, SILENT_FAILOVER_S, SLACK, Probe, Stage
from tests.hosts.waiting import wait_until
from zejzl_ray.cluster.names import CORE_ORCHESTRATOR
from zejzl_ray.cluster.supervisor_record import SupervisorRecord

FAILOVER_S = 10.0
LOOK_UP_S = 10.0
HEAD_RESTART_S = 15.0
INGRESS_S = 30.0

pytestmark = pytest.mark.timeout(360)  # the first one waits for the cluster too


@pytest.fixture(autouse=True)
def _logs(stage: Stage) -> Iterator[None]:
    yield
    wait_until(lambda: stage.members() == ["mainpc", "pc2"], limit_s=60, what="both are members")


def test_a_control_store_that_is_killed_is_back_before_anybody_misses_it(stage: Stage, tell: Tell) -> None:
    stage.home_s()
    before = stage.places()
    killed_at_s = time.time()
    stage.mainpc.run("pkill -9 gcs_server")

    looked_up_at_s = stage.http.wait_for(
        "registry", killed_at_s, SLACK * LOOK_UP_S, lambda row: row["found"] == "Responder"
    )
    wait_until(lambda: stage.record(stage.mainpc).restarts >= 1, limit_s=20, what="it was started again")
    assert stage.members() == ["mainpc", "pc2"]
    tell("registry look-up after the control store was killed", looked_up_at_s - killed_at_s, LOOK_UP_S)
    assert stage.places() == before
    assert stage.record(stage.mainpc).note == "gcs_server ended with -9"


def test_services_of_a_frozen_machine_move_and_the_machine_joins_again(stage: Stage, tell: Tell) -> None:
    tell("every service at home again, one after the other", stage.home_s(), HOME_S)
    lost_at_s = time.time()
    stage.pc2.freeze()

    failover_s = stage.failover_s(lost_at_s, SLACK * SILENT_FAILOVER_S)
    thawed_at_s = time.time()
    stage.pc2.thaw()
    rejoin_s = stage.rejoin_s(thawed_at_s)

    tell("pc2 frozen, its services answer from mainpc", failover_s, SILENT_FAILOVER_S)
    tell("pc2 thawed, a member again", rejoin_s, REJOIN_S)


def test_services_of_a_killed_machine_move_and_the_machine_joins_after_its_boot(
    stage: Stage, tell: Tell
) -> None:
    stage.home_s()
    lost_at_s = time.time()
    stage.pc2.kill()

    failover_s = stage.failover_s(lost_at_s, SLACK * FAILOVER_S)
    stage.pc2.boot()
    booted_at_s = time.time()
    # What deploy/systemd/zejzl-node.service runs; the host has no systemd.
    stage.pc2.run("setsid zejzl node run >~/run.log 2>&1 </dev/null &")
    rejoin_s = stage.rejoin_s(booted_at_s)

    tell("pc2 killed, its services answer from mainpc", failover_s, FAILOVER_S)
    tell("pc2 booted, a member again", rejoin_s, REJOIN_S)


def test_services_of_pc2_keep_their_memory_when_the_head_is_killed_and_restarted(
    stage: Stage, tell: Tell
) -> None:
    stage.home_s()
    before = stage.places()
    token = f"{DATA_DIR}/token"
    stage.mainpc.run(f"scp -q {token} {stage.pc2.address}:{token.removeprefix('~/')}")
    from_pc2 = Probe(stage.pc2, "pc2", f"{stage.mainpc.address}:6379")
    before_it = stage.record(stage.mainpc)
    killed_at_s = time.time()
    # All of Ray on the head at once, its actors too; the supervisor stays, as it would be started by systemd.
    stage.mainpc.run("pkill -9 'raylet|gcs_server'; pkill -9 -f '^ray::|/ray/dashboard/|ray.util.client'")
    wait_until(
        lambda: _restarted(stage.record(stage.mainpc), before_it),
        limit_s=120,
        what="the head is up",
        every_s=0.1,
    )
    restarted_at_s = time.time()

    looked_up_at_s = from_pc2.wait_for(
        "registry", killed_at_s + 1, SLACK * LOOK_UP_S, lambda row: row["found"] == "Responder"
    )
    by_http_s = stage.http.wait_for(CORE_ORCHESTRATOR, restarted_at_s, 60, lambda row: True)
    for service in OF_PC2:
        stage.http.wait_for(service, restarted_at_s, 60, lambda row: row["machine"] == "pc2")
    tell("head killed, restarted", restarted_at_s - killed_at_s, HEAD_RESTART_S)
    tell("ingress answers after the restart", by_http_s - restarted_at_s, INGRESS_S)
    tell("registry look-up after the restart", max(0.0, looked_up_at_s - restarted_at_s), LOOK_UP_S)
    after = stage.places()
    assert {name: after[name] for name in OF_PC2} == {name: before[name] for name in OF_PC2}


def _restarted(record: SupervisorRecord, before: SupervisorRecord) -> bool:
    return record.state == "up" and record.restarts > before.restarts
