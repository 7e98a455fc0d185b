"""``zejzl cluster takeover`` and ``handback``, and the watch of a supervisor, over two real Redis."""

import asyncio
import json
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner, Result

from tests.contract.store.redis_over_tls import has_tls
from tests.contract.store.redis_pair import Pair, pair
from tests.unit.cluster.nodes import a_head
from zejzl_ray.backup.shelf import list_shelf
from zejzl_ray.cli import cluster, cluster_takeover
from zejzl_ray.clock import SystemClock
from zejzl_ray.cluster.dropped_state import keep_dropped_state
from zejzl_ray.cluster.following import following_head, own_store, require_own_turn
from zejzl_ray.cluster.launcher_config import LauncherConfig
from zejzl_ray.cluster.node_intent import NodeIntent, change_role, with_store_of_head
from zejzl_ray.cluster.node_start import NodeRole
from zejzl_ray.cluster.shared_store import service_store_url
from zejzl_ray.cluster.stop_mark import stop_mark
from zejzl_ray.cluster.supervised_plan import SupervisedPlan
from zejzl_ray.cluster.supervisor_record import UNASKED, SupervisorRecord
from zejzl_ray.errors import ClusterError
from zejzl_ray.settings import Settings
from zejzl_ray.store.open import open_store
from zejzl_ray.store.protocol import Put

pytestmark = pytest.mark.skipif(
    not has_tls(), reason="this redis-server has no TLS: install one that has (apt-get install redis-server)"
)
__all__ = ["pair"]


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Port of a control store that answers, whoever is the head."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def plan(pair: Pair, port: int, tmp_path: Path) -> SupervisedPlan:
    """What mainpc runs, the head."""
    node = a_head(
        head_address=f"127.0.0.1:{port}",
        node_ip="127.0.0.1",
        token_path=tmp_path / "ray_token",
        redis_address=f"rediss://{pair.first}",
    )
    return SupervisedPlan(node=node)


@pytest.fixture
def on_pc2(pair: Pair, plan: SupervisedPlan, monkeypatch: pytest.MonkeyPatch) -> list[SupervisedPlan]:
    """The machine pc2, where a worker was started and no supervisor runs; returns what is started by commands."""
    with following_head(pair.settings, plan):  # writes the record of the head, with its own address
        pair.wait_linked(pair.second)
    node = plan.node.model_copy(update={"machine": "pc2", "role": NodeRole.WORKER, "redis_address": None})
    NodeIntent(plan=SupervisedPlan(node=node), is_wanted=True).write(pair.settings.data_path)
    started: list[SupervisedPlan] = []
    monkeypatch.setenv("ZEJZL_DATA_DIR", str(pair.settings.data_path))
    monkeypatch.setattr(cluster_takeover, "own_store", lambda settings, plan: pair.second)
    monkeypatch.setattr(cluster_takeover, "load_credentials", lambda *_: type("Found", (), {"files": None}))
    monkeypatch.setattr(cluster_takeover, "start_supervised", lambda plan, *_: started.append(plan))
    return started


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(cluster.app, arguments)


def _until(is_so: Callable[[], Any]) -> Any:
    deadline_s = time.monotonic() + 20
    while not (found := is_so()):
        assert time.monotonic() < deadline_s, "not within 20 s"
        time.sleep(0.05)
    return found


def test_a_head_says_who_it_is_and_learns_that_it_is_no_longer_it(pair: Pair, plan: SupervisedPlan) -> None:
    NodeIntent(plan=plan, is_wanted=True).write(pair.settings.data_path)
    with following_head(pair.settings, plan) as following:
        record = pair.standing(pair.first).record
        assert record is not None
        assert (record.term, record.head_address) == (1, plan.node.head_address)
        assert following.next_plan() is None
        pair.wait_linked(pair.second)
        switch = pair.switch("pc2")
        taken = switch.do(switch.survey())
        switch.close()

        plan_as_worker = _until(following.next_plan)
        assert plan_as_worker.node.role is NodeRole.WORKER
        assert taken.head_address == plan_as_worker.node.head_address
        change_role(pair.settings.data_path, plan_as_worker)
        assert following.next_plan() is None

    with pytest.raises(ClusterError, match=r"pc2 is the head since its takeover \(term 2\)"):
        require_own_turn(pair.settings, plan)


def test_whoever_stands_in_is_not_made_a_worker_by_a_start(pair: Pair, plan: SupervisedPlan) -> None:
    require_own_turn(pair.settings, plan)
    stand_in = plan.model_copy(update={"overrides": {"ZEJZL_HOME_WAIT_S": "0"}})
    NodeIntent(plan=stand_in, is_wanted=True).write(pair.settings.data_path)
    worker = SupervisedPlan(node=plan.node.model_copy(update={"role": NodeRole.WORKER}))

    with pytest.raises(ClusterError, match="is the head since its takeover"):
        require_own_turn(pair.settings, worker)


def test_without_tls_there_is_nobody_to_follow(plan: SupervisedPlan, tmp_path: Path, pair: Pair) -> None:
    bare = Settings(data_dir=tmp_path / "bare", store_url="redis://127.0.0.1:6380")
    with following_head(bare, plan) as following:
        assert following.next_plan() is None
    plain = pair.settings.model_copy(update={"store_url": "redis://127.0.0.1:6380"})
    with following_head(plain, plan) as following:
        assert following.next_plan() is None
    assert own_store(plain, plan) is None
    assert own_store(pair.settings, plan) == pair.first


def test_a_head_whose_redis_is_away_starts_all_the_same(pair: Pair, plan: SupervisedPlan) -> None:
    pair.servers[pair.first].kill()
    with following_head(pair.settings, plan) as following:
        assert following.next_plan() is None


def test_a_planned_takeover_asks_nothing_and_is_given_back(pair: Pair, on_pc2: list[SupervisedPlan]) -> None:
    done = _run("takeover", "--json")

    assert done.exit_code == 0, done.exception
    assert json.loads(done.stdout)["head"] == "pc2"
    assert pair.standing(pair.second).primary is None
    (plan,) = on_pc2
    assert plan.node.redis_address == f"rediss://{pair.second}"
    assert _run("takeover").exit_code == 0  # it is the head already
    pair.wait_linked(pair.first)

    back = _run("handback")
    assert back.exit_code == 0, back.exception
    assert "mainpc is the head (term 3)" in back.stdout
    pair.wait_linked(pair.second)
    again = _run("handback")
    assert isinstance(again.exception, ClusterError)
    assert "nothing to hand back" in str(again.exception)


def test_a_lost_head_is_taken_over_from_only_when_somebody_says_that_it_is_off(
    pair: Pair, on_pc2: list[SupervisedPlan]
) -> None:
    pair.servers[pair.first].kill()

    refused = _run("takeover")
    assert isinstance(refused.exception, ClusterError)
    assert "nobody has said that mainpc is off" in str(refused.exception)
    told = " ".join(refused.stderr.split())
    assert re.search(r"has not heard from that of mainpc for \d+ s: it lacks what was acknowledged", told), (
        told
    )
    assert pair.standing(pair.second).primary == pair.first
    pair.servers[pair.second].kill()
    pair.servers[pair.second].start()
    assert "mainpc since it was started" in " ".join(_run("takeover").stderr.split())
    done = _run("takeover", "--yes")
    assert done.exit_code == 0, done.exception
    assert "cannot tell a machine that is off from a cable that is cut" in " ".join(done.stderr.split())
    back = _run("handback", "--yes")
    assert isinstance(back.exception, ClusterError)
    assert "does not answer" in str(back.exception)


def test_a_supervisor_that_runs_is_left_to_read_the_record(
    pair: Pair, on_pc2: list[SupervisedPlan], plan: SupervisedPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = plan.node.model_copy(update={"machine": "pc2"})
    started_at_s = psutil.Process().create_time()
    SupervisorRecord(node=head, pid=os.getpid(), started_at_s=started_at_s, state="waiting").write(
        pair.settings.data_path
    )
    monkeypatch.setattr(cluster_takeover, "_UP_LIMIT_S", 0.0)

    done = _run("takeover")

    assert on_pc2 == []
    assert isinstance(done.exception, ClusterError)
    assert "its node is not up" in str(done.exception)


def test_where_nothing_was_started_or_no_state_is_nobody_takes_over(
    pair: Pair, on_pc2: list[SupervisedPlan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_takeover, "own_store", lambda settings, plan: None)
    for command in ("takeover", "handback"):
        assert "no Redis with TLS" in str(_run(command).exception)
    monkeypatch.setenv("ZEJZL_DATA_DIR", str(tmp_path / "empty"))
    assert "No node was ever started" in str(_run("takeover").exception)


def test_a_head_that_was_stopped_on_purpose_gives_its_state_to_the_one_that_is_started(
    pair: Pair, plan: SupervisedPlan, on_pc2: list[SupervisedPlan]
) -> None:
    assert _run("takeover").exit_code == 0
    pair.wait_linked(pair.first)
    at_pc2 = pair.settings.model_copy(update={"store_url": f"rediss://{pair.second}"})
    with pytest.raises(ClusterError, match="is the head since its takeover"):
        require_own_turn(pair.settings, plan)
    assert stop_mark(at_pc2, plan.node).set()

    said = require_own_turn(pair.settings, plan)

    assert said == "pc2 was the head when the cluster was stopped; its state is here (term 3)"
    record = pair.standing(pair.first).record
    assert record is not None
    assert (record.machine, record.term) == ("mainpc", 3)
    pair.wait_linked(pair.second)
    assert require_own_turn(pair.settings, plan) == ""


def test_a_head_says_whom_it_could_not_ask_where_commits_wait_for_a_replica(
    pair: Pair, plan: SupervisedPlan
) -> None:
    pair.servers[pair.second].kill()
    launcher = LauncherConfig(head_ip="127.0.0.1", worker_ips=("127.0.0.9",))
    plan = plan.model_copy(update={"launcher": launcher})
    settings = pair.settings.model_copy(update={"store_url": f"rediss://{pair.first}?replicas=1"})

    assert require_own_turn(settings, plan).startswith(UNASKED)
    assert require_own_turn(pair.settings, plan) == ""
    stand_in = plan.model_copy(update={"overrides": {"ZEJZL_HOME_WAIT_S": "0"}})
    with following_head(settings, plan) as following:
        assert f"127.0.0.9:{pair.first.port}" in following.doubt()
    with following_head(settings, stand_in) as following:
        assert following.doubt() == ""


async def test_what_an_old_head_drops_lies_in_a_back_up(pair: Pair, tmp_path: Path) -> None:
    shelf = pair.settings.data_path / "backups"
    await asyncio.to_thread(keep_dropped_state, pair.settings, pair.first)
    assert list_shelf(shelf) == []  # nothing is there to be dropped
    url = service_store_url(pair.settings).get_secret_value()
    store = await open_store(url, "core_orchestrator", clock=SystemClock(), owner="a test")
    epoch = await store.take_epoch()
    await store.commit([Put("agent/camera", b"{}")], epoch=epoch)
    await store.close()

    for _ in range(7):
        await asyncio.to_thread(keep_dropped_state, pair.settings, pair.first)

    kept = list_shelf(shelf)
    assert len(kept) == 5
    assert all(each.manifest is not None and each.manifest.entries == 1 for each in kept)
    pair.servers[pair.first].kill()
    with capture_logs() as lines:
        await asyncio.to_thread(keep_dropped_state, pair.settings, pair.first)
    assert "without a copy" in lines[0]["event"]


@pytest.mark.parametrize("role", [NodeRole.HEAD, NodeRole.WORKER])
def test_the_state_of_a_running_head_is_backed_up_whatever_the_shell_says_and_that_of_a_worker_elsewhere(
    pair: Pair, plan: SupervisedPlan, role: NodeRole
) -> None:
    node = plan.node.model_copy(update={"role": role})
    said = plan.model_copy(update={"node": node, "overrides": {"ZEJZL_STORE_URL": f"rediss://{pair.second}"}})
    settings = Settings(data_dir=pair.settings.data_path)
    assert with_store_of_head(settings) == settings
    NodeIntent(plan=said, is_wanted=True).write(settings.data_path)

    assert with_store_of_head(pair.settings) == pair.settings
    if role is NodeRole.HEAD:
        assert with_store_of_head(settings).store_url == f"rediss://{pair.second}"
        return
    with pytest.raises(ClusterError, match="the state is at the head"):
        with_store_of_head(settings)
