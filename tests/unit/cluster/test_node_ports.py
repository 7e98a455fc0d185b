"""Fixed ports of a node of several machines: told beforehand, apart from one another, and free before a start."""

import socket
from collections.abc import Iterator

import pytest

from tests.unit.cluster.nodes import a_worker
from zejzl_ray.cluster.firewall import firewall_ports
from zejzl_ray.cluster.node_ports import (
    GCS_PORT,
    node_ports,
    require_free_ports,
    single_ports,
    taken_ports,
    wait_for_ports,
)
from zejzl_ray.cluster.node_start import NodePorts, NodeRole, NodeStart, ray_start_command
from zejzl_ray.cluster.ports import free_ports
from zejzl_ray.errors import ClusterError, PortInUse, SettingsInvalid
from zejzl_ray.fleet.load import load_fleet
from zejzl_ray.fleet.port_matrix import port_rows
from zejzl_ray.fleet.sources import default_fleet_file
from zejzl_ray.settings import Settings, load_settings


def node(
    ports: NodePorts, role: NodeRole = NodeRole.WORKER, head_address: str = "10.0.0.1:6379"
) -> NodeStart:
    return a_worker(role=role, head_address=head_address, ports=ports)


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_every_port_of_a_node_is_fixed_and_given_to_ray() -> None:
    ports = node_ports(Settings(ray_metrics=True))

    argv = ray_start_command(node(ports, NodeRole.HEAD)).argv

    assert set(argv) >= {
        "--node-manager-port=20001",
        "--object-manager-port=20002",
        "--dashboard-agent-grpc-port=20003",
        "--dashboard-agent-listen-port=20004",
        "--runtime-env-agent-port=20005",
        "--min-worker-port=20100",
        "--max-worker-port=20999",
        "--ray-client-server-port=10001",
        "--dashboard-port=8265",
        "--metrics-export-port=8090",
    }


def test_the_defaults_are_apart_from_the_ports_of_the_fleet() -> None:
    fleet = load_fleet([default_fleet_file()]).raise_if_invalid()
    ports = node_ports(Settings())
    first, last = ports.worker_ports or (0, 0)

    agents = {row.port for row in port_rows(fleet, has_platform=False)}
    own = set(single_ports(ports, NodeRole.HEAD, GCS_PORT).values())

    assert agents
    assert not agents & own
    assert not [port for port in agents if first <= port <= last]
    assert last < 32768  # Linux gives those away by itself


def test_zero_takes_a_free_one_again() -> None:
    ports = node_ports(Settings(ray_node_manager_port=0, ray_agent_grpc_port=0, ray_worker_ports="any"))

    assert (ports.node_manager, ports.worker_ports) == (0, None)
    assert "ZEJZL_RAY_NODE_MANAGER_PORT" not in single_ports(ports, NodeRole.WORKER, GCS_PORT)
    argv = ray_start_command(node(ports)).argv
    assert not [part for part in argv if part.startswith("--dashboard-agent-grpc-port")]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ray_node_manager_port": 20002}, "ZEJZL_RAY_NODE_MANAGER_PORT and ZEJZL_RAY_OBJECT_MANAGER_PORT"),
        ({"ray_agent_http_port": 7002}, "ZEJZL_OBSERVABILITY_PORT and ZEJZL_RAY_AGENT_HTTP_PORT"),
        (
            {"ray_worker_ports": "8000-8999"},
            "ZEJZL_DASHBOARD_PORT lies inside ZEJZL_RAY_WORKER_PORTS 8000-8999",
        ),
    ],
)
def test_settings_that_name_one_port_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsInvalid, match=message):
        node_ports(Settings.model_validate(settings))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("RAY_WORKER_PORTS", "20100"),
        ("RAY_WORKER_PORTS", "20100-20101"),
        ("RAY_WORKER_PORTS", "20999-20100"),
        ("RAY_NODE_MANAGER_PORT", "80"),
        ("RAY_AGENT_HTTP_PORT", "70000"),
    ],
)
def test_a_port_that_cannot_be_one_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> None:
    monkeypatch.setenv(f"ZEJZL_{name}", text)

    with pytest.raises(SettingsInvalid, match=f"ZEJZL_{name}"):
        load_settings()


def test_a_port_that_is_taken_is_named_with_its_setting_before_the_start(taken: int) -> None:
    worker = node(NodePorts(node_manager=taken))

    with pytest.raises(
        PortInUse, match=rf"port {taken} .ZEJZL_RAY_NODE_MANAGER_PORT. of pc2; nothing was started"
    ):
        require_free_ports(worker)
    with pytest.raises(PortInUse, match="ZEJZL_SECURITY_PORT"):
        require_free_ports(node(NodePorts()), {"ZEJZL_SECURITY_PORT": taken})


def test_the_ports_of_the_head_are_looked_at_there_only(taken: int) -> None:
    client, dashboard = free_ports(2)
    ports = NodePorts(dashboard=dashboard, ray_client=client)
    at = f"10.0.0.1:{taken}"

    assert taken_ports(node(ports, NodeRole.HEAD, at)) == {"ZEJZL_RAY_PORT": taken}
    assert taken_ports(node(ports, NodeRole.WORKER, at)) == {}
    busy = NodePorts(dashboard=taken, ray_client=client)
    free = f"10.0.0.1:{free_ports(1, avoid={client})[0]}"
    assert taken_ports(node(busy, NodeRole.HEAD, free)) == {"ZEJZL_DASHBOARD_PORT": taken}


def test_a_port_on_which_nobody_may_listen_is_another_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = PermissionError(13, "Permission denied")
    monkeypatch.setattr("zejzl_ray.cluster.node_ports.listen_error", lambda host, port: refused)

    with pytest.raises(ClusterError, match=r"20001 .ZEJZL_RAY_NODE_MANAGER_PORT.: Permission denied"):
        require_free_ports(node(NodePorts(node_manager=20001)))


def test_a_port_that_is_still_held_is_waited_for() -> None:
    server = socket.create_server(("127.0.0.1", 0))
    waits = []

    def sleep(wait_s: float) -> None:
        waits.append(wait_s)
        server.close()

    wait_for_ports(node(NodePorts(node_manager=server.getsockname()[1])), 10.0, sleep=sleep)

    assert len(waits) == 1


def test_the_wait_for_a_port_has_an_end(taken: int) -> None:
    clock = iter(range(100))

    with pytest.raises(PortInUse, match=str(taken)):
        wait_for_ports(
            node(NodePorts(agent_grpc=taken)), 5.0, sleep=lambda _: None, now_s=lambda: float(next(clock))
        )


def test_the_firewall_is_told_what_others_must_reach_and_nothing_else() -> None:
    plain = firewall_ports(Settings())
    wide = firewall_ports(
        Settings(
            bind_host="192.168.1.10", store_url="rediss://192.168.1.10", ray_metrics=True, ray_worker_ports="any",
            ray_port=6400,
        )
    )  # fmt: skip

    assert [port.shown for port in plain] == [
        "22", "6379", "20001", "20002", "20003", "20004", "20100-20999", "10001", "7600-7699",
    ]  # fmt: skip
    shown = {port.what: (port.shown, port.at) for port in wide}
    assert shown["calls of actors, tasks and programs"] == ("any", "every machine")
    assert shown["Ray's control store"] == ("6400", "the head")
    assert shown["Redis, the store"] == ("6380", "192.168.1.10")
    assert shown["the ingress"] == ("7000", "the head")
    assert shown["Ray's figures"] == ("8090", "every machine")
