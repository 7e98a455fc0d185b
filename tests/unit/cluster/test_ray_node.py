"""What a node's supervisor asks of the machine, without a node: the rest is in tests/cluster/test_supervisor.py."""

import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cluster.nodes import a_worker
from zejzl_ray.cluster import ray_node
from zejzl_ray.cluster.node_restarts import CONTROL_STORE, RAYLET, SERVICES
from zejzl_ray.cluster.node_start import MARKER, NodeRole
from zejzl_ray.cluster.ray_node import SERVICES_LOG_FILE, RayNode, start_services
from zejzl_ray.cluster.supervised_plan import SupervisedPlan
from zejzl_ray.errors import ClusterError


def _plan(head_port: int, role: NodeRole = NodeRole.WORKER, **changes: Any) -> SupervisedPlan:
    node = a_worker(role=role, head_address=f"127.0.0.1:{head_port}", node_ip="127.0.0.1")
    return SupervisedPlan.model_validate({"node": node, **changes})


@pytest.fixture(autouse=True)
def no_adoption(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test's own process adopts nobody."""
    monkeypatch.setattr(ray_node, "adopt_orphans", lambda: None)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def test_a_part_that_cannot_be_started_again_is_an_error_that_a_supervisor_knows(tmp_path: Path) -> None:
    node = RayNode(_plan(1, services=(str(tmp_path / "gone"),)), tmp_path)

    with pytest.raises(ClusterError, match=r"Cannot start services again: No such file"):
        node.start_part(SERVICES)


def test_a_head_is_reachable_when_it_takes_connections(tmp_path: Path, listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    assert RayNode(_plan(port), tmp_path).is_head_reachable()

    listener.close()

    assert not RayNode(_plan(port), tmp_path).is_head_reachable()


def test_the_head_itself_has_nobody_to_reach(tmp_path: Path, listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    listener.close()

    assert RayNode(_plan(port, NodeRole.HEAD), tmp_path).is_head_reachable()


def test_nobody_is_asked_about_a_node_that_never_ran(tmp_path: Path) -> None:
    assert RayNode(_plan(6379), tmp_path).is_member() is None


def test_services_carry_the_mark_of_their_node_and_write_into_their_log(tmp_path: Path) -> None:
    started: list[tuple[list[str], dict[str, Any]]] = []

    start_services(
        _plan(6379, services=("a", "b")),
        tmp_path,
        lambda argv, **options: started.append((argv, options)),  # type: ignore[arg-type] # notes only
    )

    ((argv, options),) = started
    assert argv == ["a", "b"]
    assert options["env"][MARKER] == "c1/pc2"
    assert (tmp_path / SERVICES_LOG_FILE).exists()


def test_a_plan_without_services_starts_none(tmp_path: Path) -> None:
    assert start_services(_plan(6379), tmp_path) is None


@pytest.mark.parametrize(
    ("name", "code", "is_asked"),
    [
        (RAYLET, 0, True),
        (RAYLET, -signal.SIGTERM, True),
        (RAYLET, 143, True),
        (RAYLET, 1, False),  # it was given up by the head, and ended itself
        (RAYLET, -signal.SIGKILL, False),
        (CONTROL_STORE, 0, False),
    ],
)
def test_only_a_raylet_that_ended_in_order_was_asked_to(name: str, code: int, is_asked: bool) -> None:
    assert ray_node._is_asked(name, code) is is_asked
