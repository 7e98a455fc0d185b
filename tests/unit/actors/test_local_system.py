"""The commands for a cluster on one machine, where the machine belongs to a cluster of several."""

import os
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from actors.local_system import connected, start_local_system, stop_local_system
from tests.unit.cluster.nodes import a_head
from zejzl_ray.cluster.node_start import NodeRole
from zejzl_ray.cluster.ports import free_ports
from zejzl_ray.cluster.record import ClusterRecord
from zejzl_ray.cluster.supervisor_record import SupervisorRecord
from zejzl_ray.errors import ClusterError
from zejzl_ray.fleet.model import Fleet, MachineDeclaration
from zejzl_ray.settings import Settings

Command = Callable[[Settings], object]


def _up(settings: Settings) -> object:
    return start_local_system(
        settings, Fleet(machines={"mainpc": MachineDeclaration(name="mainpc")}), "here", lambda line: None
    )


def _down(settings: Settings) -> object:
    return stop_local_system(settings, lambda line: None)


@pytest.mark.parametrize("command", [_up, _down])
@pytest.mark.parametrize(("role", "words"), [(NodeRole.HEAD, "the head"), (NodeRole.WORKER, "a worker")])
def test_the_node_of_a_cluster_of_several_machines_is_left_alone(
    tmp_path: Path, command: Command, role: NodeRole, words: str
) -> None:
    SupervisorRecord(
        node=a_head(role=role, token_path=tmp_path / "ray_token"),
        pid=os.getpid(),
        started_at_s=psutil.Process().create_time(),
        state="up",
    ).write(tmp_path)

    with pytest.raises(ClusterError, match=f"is mainpc, {words} of a cluster of several machines") as caught:
        command(Settings(data_dir=tmp_path))

    assert "ray down" in str(caught.value)
    assert "zejzl node stop" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["node.json"]


def test_a_control_store_that_has_died_is_said_at_once_and_not_after_rays_own_patience(
    tmp_path: Path,
) -> None:
    record = ClusterRecord(
        cluster_id="zejzl-1",
        temp_dir=tmp_path,
        address=f"127.0.0.1:{free_ports(1)[0]}",
        dashboard_url="",
        http_url="",
        bind_host="127.0.0.1",
        namespace="zejzl",
        machines=("mainpc",),
    )
    with (
        pytest.raises(ClusterError, match=r"Nothing answers at .*zejzl down"),
        connected(record, tmp_path / "ray_token"),
    ):
        raise AssertionError("not reached")
