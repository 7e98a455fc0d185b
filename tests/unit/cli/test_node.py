"""``zejzl node`` up to the point where it would start something."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from zejzl_ray.cli import node
from zejzl_ray.cluster.node_intent import NodeIntent
from zejzl_ray.cluster.node_restarts import ROLE, Ending
from zejzl_ray.cluster.node_start import NodeRole, NodeStart
from zejzl_ray.cluster.supervised_plan import SupervisedPlan
from zejzl_ray.cluster.supervisor import StopAsked
from zejzl_ray.errors import ClusterError, InvalidInput, Unauthenticated
from zejzl_ray.tls.directory import TlsDirectory
from zejzl_ray.tls.names import certificate_names


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZEJZL_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("ZEJZL_GPU_CARDS", "none")
    return tmp_path / "data"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[NodeStart]:
    nodes: list[NodeStart] = []

    def start(wanted: SupervisedPlan, *_: Any, **__: Any) -> str:
        nodes.append(wanted.node)
        return "started"

    monkeypatch.setattr(node, "start_supervised", start)
    return nodes


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(node.app, arguments)


@pytest.mark.parametrize("name", ["ray_token", "redis_password", "security_key", "token"])
def test_the_secrets_are_made_once_and_only_their_paths_are_printed(data_dir: Path, name: str) -> None:
    first = _run("token")
    secret = (data_dir / name).read_text()
    second = _run("token")

    assert first.exit_code == second.exit_code == 0
    assert (data_dir / name).read_text() == secret
    assert (data_dir / name).stat().st_mode & 0o777 == 0o600
    assert str(data_dir / name) in first.output
    assert secret not in first.output + second.output


@pytest.mark.parametrize("arguments", [(), ("--head", "--address", "h")])
def test_a_node_is_either_the_head_or_has_one(data_dir: Path, arguments: tuple[str, ...]) -> None:
    done = _run("start", *arguments)

    assert done.exit_code == 2
    assert "--head or --address" in done.output


def test_a_machine_without_the_token_is_told_so(data_dir: Path) -> None:
    done = _run("start", "--head", "--machine", "mainpc", "--node-ip", "127.0.0.1")

    assert isinstance(done.exception, Unauthenticated)
    assert "ray_token" in str(done.exception)


def test_a_head_whose_store_the_workers_cannot_reach_is_refused_before_anything_starts(
    data_dir: Path, tmp_path: Path, started: list[NodeStart]
) -> None:
    file = tmp_path / "bootstrap.yaml"
    file.write_text("provider: {type: local, head_ip: 127.0.0.1, worker_ips: [10.0.0.2]}\n")
    _run("token")
    command = ("start", "--head", "--machine", "mainpc", "--cluster-file", str(file))

    refused = _run(*command)
    without_services = _run(*command, "--no-services")

    assert isinstance(refused.exception, ClusterError)
    assert "ZEJZL_STORE_URL" in str(refused.exception)
    assert without_services.exit_code == 0, without_services.exception
    assert len(started) == 1


def test_the_head_takes_its_address_from_the_file_that_ray_up_left(
    data_dir: Path, tmp_path: Path, started: list[NodeStart], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZEJZL_STORE_URL", "redis://10.0.0.1:6380")
    file = tmp_path / "bootstrap.yaml"
    file.write_text("provider: {type: local, head_ip: 127.0.0.1, worker_ips: [10.0.0.2]}\n")
    _run("token")

    done = _run("start", "--head", "--machine", "mainpc", "--cluster-file", str(file), "--cpus", "2")

    assert done.exit_code == 0, done.exception
    (head,) = started
    assert (head.role, head.head_address, head.cpus) == (NodeRole.HEAD, "127.0.0.1:6379", 2)
    assert head.autoscaling_config == file


def test_a_worker_finds_its_own_address_and_the_default_port(
    data_dir: Path, started: list[NodeStart]
) -> None:
    _run("token")

    done = _run("start", "--address", "127.0.0.1", "--machine", "pc2")

    assert done.exit_code == 0, done.exception
    assert started[0].model_dump(include={"role", "head_address", "node_ip"}) == {
        "role": NodeRole.WORKER,
        "head_address": "127.0.0.1:6379",
        "node_ip": "127.0.0.1",
    }


def test_a_head_address_that_cannot_be_one_is_refused(data_dir: Path, started: list[NodeStart]) -> None:
    _run("token")

    done = _run("start", "--address", "a b:1", "--node-ip", "127.0.0.1", "--machine", "pc2")

    assert isinstance(done.exception, InvalidInput)
    assert started == []


def test_a_stop_where_nothing_runs_says_so(data_dir: Path) -> None:
    done = _run("stop")

    assert (done.exit_code, done.output) == (0, "node: was not running\n")


def test_a_stop_removes_what_the_proxy_left_outside_the_data_directory(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = tmp_path / "proxy"
    left.mkdir()
    (left / "admin.sock").touch()
    monkeypatch.setattr("actors.launched_system.haproxy_directory", lambda data_dir: left)

    assert _run("stop").exit_code == 0
    assert not left.exists()
    assert _run("stop").exit_code == 0


def test_a_supervisor_whose_role_has_changed_runs_what_was_written_down_meanwhile(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, str, bool]] = []

    class Changing:
        def __init__(
            self,
            plan: SupervisedPlan,
            *_: Any,
            is_patient: bool,
            next_plan: Callable[[], SupervisedPlan | None],
        ) -> None:
            assert next_plan() is None
            seen.append((plan.node.machine, os.environ.get("ZEJZL_HOME_WAIT_S", ""), is_patient))

        def run(self) -> Ending:
            if len(seen) == 3:
                raise StopAsked
            overrides = {"ZEJZL_HOME_WAIT_S": "0"} if len(seen) == 1 else {}
            NodeIntent(plan=wanted.model_copy(update={"overrides": overrides}), is_wanted=True).write(
                data_dir
            )
            return Ending(is_asked=False, process=ROLE, status=0)

    monkeypatch.setattr(node, "Supervisor", Changing)
    monkeypatch.setattr(node, "RayNode", lambda plan, data_dir: None)
    monkeypatch.setattr(os, "environ", dict(os.environ) | {"ZEJZL_HOME_WAIT_S": "30"})
    monkeypatch.setattr("actors.launched_system.ingress_environment", lambda settings: {})
    wanted = _wanted(tmp_path)
    data_dir.mkdir()
    NodeIntent(plan=wanted, is_wanted=True).write(data_dir)

    assert _run("run", "--once").exit_code == 0
    assert seen == [("mainpc", "30", False), ("mainpc", "0", True), ("mainpc", "30", True)]


def _wanted(tmp_path: Path) -> SupervisedPlan:
    return SupervisedPlan(
        node=NodeStart(
            cluster_id="zejzl-1",
            machine="mainpc",
            role=NodeRole.HEAD,
            head_address="127.0.0.1:6379",
            node_ip="127.0.0.1",
            temp_dir=Path("/tmp/zejzl-1"),
            token_path=tmp_path / "ray_token",
            cpus=1,
        ),
        settings={"ZEJZL_HTTP_PORT": "7010"},
    )


@pytest.mark.parametrize("option", [[], ["--once"]])
def test_the_supervisor_makes_the_environment_and_knows_what_to_remove(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: list[str]
) -> None:
    plans: list[SupervisedPlan] = []

    class Watching:
        def __init__(self, plan: SupervisedPlan, *_: Any, is_patient: bool, **__: Any) -> None:
            assert is_patient is (option == [])
            plans.append(plan)

        def run(self) -> Ending:
            return Ending(is_asked=True, process="", status=0)

    monkeypatch.setattr(node, "Supervisor", Watching)
    monkeypatch.setattr(node, "RayNode", lambda plan, data_dir: None)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr("actors.launched_system.ingress_environment", lambda settings: {"A": "1"})
    monkeypatch.setattr("actors.launched_system.haproxy_directory", lambda data_dir: tmp_path / "proxy")
    wanted = _wanted(tmp_path)
    data_dir.mkdir()
    NodeIntent(plan=wanted, is_wanted=True).write(data_dir)

    done = _run("run", *option)

    assert done.exit_code == 0, done.exception
    (plan,) = plans
    assert plan.node == wanted.node
    assert (plan.environment, plan.leftovers) == ({"A": "1"}, (tmp_path / "proxy",))
    assert os.environ["ZEJZL_HTTP_PORT"] == "7010"


def test_where_nothing_was_started_the_supervisor_has_nothing_to_run(data_dir: Path) -> None:
    done = _run("run", "--once")

    assert isinstance(done.exception, ClusterError)
    assert "zejzl node start" in str(done.exception)


def test_services_are_started_at_the_head_only(data_dir: Path) -> None:
    done = _run("services")

    assert isinstance(done.exception, ClusterError)
    assert "not the head" in str(done.exception)


def test_a_worker_without_a_certificate_does_not_start_and_says_why(
    data_dir: Path, started: list[NodeStart]
) -> None:
    _run("token")

    done = _run("start", "--address", "127.0.0.1", "--machine", "pc2", "--node-ip", "10.0.0.2")

    assert isinstance(done.exception, ClusterError)
    assert "There is no certificate of pc2" in str(done.exception)
    assert "zejzl tls issue pc2 --address 10.0.0.2" in str(done.exception)
    assert started == []


def test_a_worker_with_its_certificate_speaks_tls(data_dir: Path, started: list[NodeStart]) -> None:
    _run("token")
    TlsDirectory(data_dir / "tls").init(certificate_names("pc2", (), ("10.0.0.2",)), time.time())

    done = _run("start", "--address", "127.0.0.1", "--machine", "pc2", "--node-ip", "10.0.0.2")

    assert done.exit_code == 0, done.exception
    assert "WARNING" not in done.stderr
    assert started[0].tls is not None
    assert started[0].tls.certificate == data_dir / "tls" / "pc2.pem"


def test_without_tls_between_machines_the_start_says_so_loudly(
    data_dir: Path, started: list[NodeStart], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZEJZL_RAY_TLS", "off")
    _run("token")

    done = _run("start", "--address", "127.0.0.1", "--machine", "pc2", "--node-ip", "10.0.0.2")

    assert done.exit_code == 0, done.exception
    assert "WARNING: ZEJZL_RAY_TLS=off" in done.stderr
    assert started[0].tls is None


def test_a_certificate_that_ends_soon_is_told_at_the_start(data_dir: Path, started: list[NodeStart]) -> None:
    _run("token")
    made_at_s = time.time() - 355 * 86_400
    TlsDirectory(data_dir / "tls").init(certificate_names("pc2", (), ("10.0.0.2",)), made_at_s)

    done = _run("start", "--address", "127.0.0.1", "--machine", "pc2", "--node-ip", "10.0.0.2")

    assert done.exit_code == 0, done.exception
    assert "expires in 10 days: `zejzl tls renew`" in done.stderr


def test_a_head_whose_ingress_would_be_open_does_not_start(
    data_dir: Path, started: list[NodeStart], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZEJZL_BIND_HOST", "0.0.0.0")
    _run("token")

    done = _run("start", "--head", "--machine", "mainpc", "--node-ip", "127.0.0.1")

    assert isinstance(done.exception, ClusterError)
    assert "ZEJZL_BIND_HOST=0.0.0.0" in str(done.exception)
    assert started == []


def test_a_worker_finds_its_name_by_its_address(
    data_dir: Path, started: list[NodeStart], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZEJZL_RAY_TLS", "off")
    _run("token")
    others = ("--worker", "pc3=192.0.2.7")

    done = _run("start", "--address", "127.0.0.1", *others, "--worker", "pc2=localhost")
    missing = _run("start", "--address", "127.0.0.1", *others)
    wrong = _run("start", "--address", "127.0.0.1", "--worker", "pc2")

    assert done.exit_code == 0, done.output
    assert [node.machine for node in started] == ["pc2"]
    assert isinstance(missing.exception, ClusterError)
    assert "none of the workers: pc3=192.0.2.7" in str(missing.exception)
    assert isinstance(wrong.exception, InvalidInput)
