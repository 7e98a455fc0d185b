"""``zejzl cluster takeover`` and ``handback``, and the watch of a supervisor, over two real Redis."""

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from typer.testing import CliRunner, Result

from tests.contract.store.redis_over_tls import has_tls
from tests.contract.store.redis_pair import Pair, pair
from zejzl_ray.cli import cluster, cluster_takeover
from zejzl_ray.cluster.following import following_head, own_store, require_own_turn
from zejzl_ray.cluster.node_intent import NodeIntent, change_role
from zejzl_ray.cluster.node_start import NodeRole, NodeStart
from zejzl_ray.cluster.supervised_plan import SupervisedPlan
from zejzl_ray.cluster.supervisor_record import SupervisorRecord
from zejzl_ray.errors import ClusterError
from zejzl_ray.settings import Settings

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
    node = NodeStart(
        cluster_id="c1",
        machine="mainpc",
        role=NodeRole.HEAD,
        head_address=f"127.0.0.1:{port}",
        node_ip="127.0.0.1",
        temp_dir=Path("/tmp/c1"),
        token_path=tmp_path / "ray_token",
        cpus=1,
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
    with following_head(pair.settings, plan) as next_plan:
        record = pair.standing(pair.first).record
        assert record is not None
        assert (record.term, record.head_address) == (2, plan.node.head_address)
        assert next_plan() is None
        pair.wait_linked(pair.second)
        switch = pair.switch("pc2")
        taken = switch.do(switch.survey())
        switch.close()

        following = _until(next_plan)
        assert following.node.role is NodeRole.WORKER
        assert taken.head_address == following.node.head_address
        change_role(pair.settings.data_path, following)
        assert next_plan() is None

    with pytest.raises(ClusterError, match=r"pc2 is the head since its takeover \(term 3\)"):
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
    with following_head(bare, plan) as next_plan:
        assert next_plan() is None
    plain = pair.settings.model_copy(update={"store_url": "redis://127.0.0.1:6380"})
    with following_head(plain, plan) as next_plan:
        assert next_plan() is None
    assert own_store(plain, plan) is None
    assert own_store(pair.settings, plan) == pair.first


def test_a_head_whose_redis_is_away_starts_all_the_same(pair: Pair, plan: SupervisedPlan) -> None:
    pair.servers[pair.first].kill()
    with following_head(pair.settings, plan) as next_plan:
        assert next_plan() is None


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
    assert "mainpc is the head (term 4)" in back.stdout
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
    assert pair.standing(pair.second).primary == pair.first
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
