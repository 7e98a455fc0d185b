"""``zejzl node`` up to the point where it would start something."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from zejzl_ray.cli import node
from zejzl_ray.cluster.node_start import NodeRole, NodeStart
from zejzl_ray.errors import ClusterError, InvalidInput, Unauthenticated


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZEJZL_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("ZEJZL_GPU_CARDS", "none")
    return tmp_path / "data"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[NodeStart]:
    nodes: list[NodeStart] = []

    def start(wanted: NodeStart, *_: Any, **__: Any) -> str:
        nodes.append(wanted)
        return "started"

    monkeypatch.setattr(node, "start_supervised", start)
    monkeypatch.setattr("actors.launched_system.node_environment", lambda settings: {})
    return nodes


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(node.app, arguments)


def test_the_token_is_made_once_and_only_its_path_is_printed(data_dir: Path) -> None:
    first = _run("token")
    secret = (data_dir / "ray_token").read_text()
    second = _run("token")

    assert first.exit_code == second.exit_code == 0
    assert (data_dir / "ray_token").read_text() == secret
    assert (data_dir / "ray_token").stat().st_mode & 0o777 == 0o600
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


def test_the_head_takes_its_address_from_the_file_that_ray_up_left(
    data_dir: Path, tmp_path: Path, started: list[NodeStart]
) -> None:
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


def test_services_are_started_at_the_head_only(data_dir: Path) -> None:
    done = _run("services")

    assert isinstance(done.exception, ClusterError)
    assert "not the head" in str(done.exception)
