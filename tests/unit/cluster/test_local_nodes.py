"""Starting the nodes of one machine: a program of our own stands where ``ray`` would."""

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from zejzl_ray.cluster import local_nodes
from zejzl_ray.cluster.local_nodes import exclusive, running_cluster, start_head, start_workers, stop_all
from zejzl_ray.cluster.local_plan import LocalPlan, cluster_id
from zejzl_ray.cluster.node_processes import StopReport
from zejzl_ray.cluster.node_start import MARKER, NodeRole, NodeStart
from zejzl_ray.cluster.record import ClusterRecord, read_record
from zejzl_ray.errors import ClusterError


@pytest.fixture
def plan(tmp_path: Path) -> LocalPlan:
    temp_dir = tmp_path / "ray"
    temp_dir.mkdir()
    record = ClusterRecord(
        cluster_id=cluster_id(tmp_path),
        temp_dir=temp_dir,
        address="127.0.0.1:1",
        dashboard_url="",
        http_url="",
        bind_host="127.0.0.1",
        namespace="zejzl",
        machines=("mainpc", "pc2"),
    )
    nodes = tuple(
        NodeStart(
            cluster_id=record.cluster_id,
            machine=machine,
            role=role,
            head_address="127.0.0.1:6379",
            node_ip="127.0.0.1",
            temp_dir=Path("/tmp/z"),
            token_path=tmp_path / "ray_token",
            cpus=1,
            ray_executable=str(tmp_path / "fake_ray"),
        )
        for machine, role in (("mainpc", NodeRole.HEAD), ("pc2", NodeRole.WORKER))
    )
    return LocalPlan(record, nodes)


def program(tmp_path: Path, body: str) -> None:
    for name in (
        "fake_ray",
        "python",
    ):  # the second node on loopback is started by the interpreter beside `ray`
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o700)


def start(plan: LocalPlan, tmp_path: Path, **options: Any) -> list[str]:
    lines: list[str] = []
    for step in (start_head, start_workers):
        step(plan, tmp_path, {"EXTRA": "given"}, lines.append, **options)
    return lines


def test_every_node_is_started_with_its_marker_head_first(plan: LocalPlan, tmp_path: Path) -> None:
    program(tmp_path, f'echo "$EXTRA ${MARKER} $*" >> "{tmp_path}/calls"; test -f "{tmp_path}/cluster.json"')
    assert [line.split(":")[0] for line in start(plan, tmp_path)] == ["Ray node mainpc", "Ray node pc2"]
    head, worker = (tmp_path / "calls").read_text().splitlines()
    assert head.startswith(f"given {plan.record.cluster_id}/mainpc start --head")
    assert worker.startswith(
        f"given {plan.record.cluster_id}/pc2 -m zejzl_ray.cluster.loopback_node start --address="
    )
    assert read_record(tmp_path) == plan.record


def test_a_node_that_fails_shows_its_last_words_and_leaves_no_process(
    plan: LocalPlan, tmp_path: Path
) -> None:
    program(
        tmp_path,
        f'case "$*" in *--head*) ;; *) sleep 600 & echo $! > "{tmp_path}/pid"; echo no head; exit 3;; esac',
    )
    with pytest.raises(ClusterError) as caught:
        start(plan, tmp_path)
    assert "Ray node pc2 did not start: `ray start` ended with 3.\nno head" in str(caught.value)
    assert str(tmp_path / "ray_start_pc2.log") in caught.value.remedy
    left = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(left, 0)


def test_a_node_that_hangs_is_given_up(plan: LocalPlan, tmp_path: Path) -> None:
    program(tmp_path, "echo waiting; exec sleep 600")
    with pytest.raises(ClusterError, match=r"did not end within 0\.3 s"):
        start(plan, tmp_path, timeout_s=0.3)


def test_a_missing_program_is_named(plan: LocalPlan, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"Cannot run .*fake_ray: No such file"):
        start(plan, tmp_path)


def test_only_one_command_works_on_a_directory(tmp_path: Path) -> None:
    with exclusive(tmp_path):
        with pytest.raises(ClusterError, match="Another"), exclusive(tmp_path):
            pytest.fail("two at once")
    with exclusive(tmp_path):
        pass


def test_a_directory_that_is_not_there_cannot_be_locked(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="No such file"), exclusive(tmp_path / "missing"):
        pytest.fail("locked")


def test_no_record_is_no_cluster(tmp_path: Path) -> None:
    assert running_cluster(tmp_path) is None


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nonsense"])
def test_a_control_store_that_does_not_answer_is_no_cluster(
    plan: LocalPlan, tmp_path: Path, address: str
) -> None:
    plan.record.model_copy(update={"address": address}).write(tmp_path)
    assert running_cluster(tmp_path) is None


@pytest.mark.parametrize("alive", [("mainpc", "pc2"), ("mainpc",)])
def test_a_cluster_runs_when_all_its_nodes_live(
    plan: LocalPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alive: tuple[str, ...]
) -> None:
    monkeypatch.setattr(local_nodes, "is_node_running", lambda _, machine: machine in alive)
    with socket.create_server(("127.0.0.1", 0)) as gcs:
        record = plan.record.model_copy(update={"address": f"127.0.0.1:{gcs.getsockname()[1]}"})
        record.write(tmp_path)
        assert running_cluster(tmp_path) == (record if len(alive) == 2 else None)


def test_stop_removes_sockets_and_record_and_is_safe_to_repeat(plan: LocalPlan, tmp_path: Path) -> None:
    plan.record.write(tmp_path)
    assert stop_all(tmp_path) == StopReport(ended=0, killed=0, left=())
    assert not plan.record.temp_dir.exists()
    assert read_record(tmp_path) is None
    stop_all(tmp_path)


def test_a_process_that_does_not_end_is_named_and_nothing_is_forgotten(
    plan: LocalPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan.record.write(tmp_path)
    monkeypatch.setattr(local_nodes, "stop_node", lambda _: StopReport(ended=0, killed=0, left=(4711,)))
    with pytest.raises(ClusterError, match="4711"):
        stop_all(tmp_path)
    assert read_record(tmp_path) == plan.record
