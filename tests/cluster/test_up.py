"""``zejzl up``, ``status`` and ``down`` as a user runs them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import psutil
import pytest

from serve_apps.haproxy.environment import haproxy_directory
from tests.cluster.system import System, new_data_dir, run_zejzl, system_environment
from zejzl_ray.cluster.local_plan import cluster_id
from zejzl_ray.cluster.names import SERVICES
from zejzl_ray.cluster.node_processes import find_node_processes
from zejzl_ray.cluster.ports import free_ports
from zejzl_ray.cluster.record import read_record
from zejzl_ray.contracts.orchestrator import Agent
from zejzl_ray.sdk.connect import connect

HEALTH_PORTS = {
    "resource_manager": "ZEJZL_RESOURCE_MANAGER_PORT",
    "observability_hub": "ZEJZL_OBSERVABILITY_PORT",
    "error_bus": "ZEJZL_ERROR_BUS_PORT",
    "security_gateway": "ZEJZL_SECURITY_PORT",
}
DECLARED = 72  # 67 agents of the fleet and the five services


def registered(system: System) -> list[Agent]:
    """All agents that the registry knows, those of other tests too."""
    with connect(system.info["ingress"], token_file=system.data_dir / "token") as client:
        return list(client.agents())


def test_up_brings_both_machines_the_five_services_and_the_real_fleet(running_system: System) -> None:
    info = running_system.info
    assert info["machines"] == ["mainpc", "pc2"]
    assert info["missing_machines"] == []
    assert set(info["services"]) == set(SERVICES)
    assert info["services"]["core_orchestrator"] == "mainpc"
    assert {info["services"][name] for name in SERVICES if name != "core_orchestrator"} == {"pc2"}
    shown = json.loads(running_system.zejzl("status", "--json").stdout)
    agents = registered(running_system)
    assert sum(agent.is_declared for agent in agents) == DECLARED
    assert shown["agents"]["agents"] == len(agents)
    assert {service["service"]: service["is_ready"] for service in shown["services"]} == dict.fromkeys(
        SERVICES, True
    )
    cards = {
        machine["name"]: machine["snapshot"]["gpus"][0]["vram_total_mib"] for machine in shown["machines"]
    }
    assert cards == {"mainpc": 24564, "pc2": 12288}


def test_status_for_people_names_machines_services_and_counts(running_system: System) -> None:
    done = running_system.zejzl("status")
    assert done.returncode == 0, done.stderr
    for word in ("mainpc", "pc2", "RTX 4090 (simulated)", "of 24564 MiB", *SERVICES):
        assert word in done.stdout
    assert f"agents: {len(registered(running_system))}" in done.stdout


def test_services_appear_healthy_in_the_registry_under_their_old_names_too(running_system: System) -> None:
    with connect(running_system.info["ingress"], token_file=running_system.data_dir / "token") as client:
        deadline_s = time.monotonic() + 20
        while client.agent("ServiceRegistry").state != "healthy":
            assert time.monotonic() < deadline_s, client.explain("ServiceRegistry")
            time.sleep(0.2)
        assert client.agent("ServiceRegistry").name == "core_orchestrator"
        assert client.agent("AuthenticationAgent").machine == "pc2"


def test_up_again_changes_nothing(running_system: System) -> None:
    def pids() -> set[int]:
        return {process.pid for process in find_node_processes(cluster_id(running_system.data_dir))}

    before = pids()
    done = running_system.zejzl("up", "--json")
    assert done.returncode == 0, done.stderr
    again = json.loads(done.stdout)
    assert again["was_running"] is True
    fleet = again["fleet"]
    assert (fleet["added"], fleet["changed"], fleet["removed"]) == (0, 0, 0)
    assert before <= pids()  # idle workers of Ray may come, nothing that ran has gone


@pytest.mark.parametrize("service", HEALTH_PORTS)
def test_a_service_serves_health_on_its_own_port_and_nothing_else(
    running_system: System, service: str
) -> None:
    base = f"http://127.0.0.1:{running_system.environment[HEALTH_PORTS[service]]}"
    with httpx2.Client(base_url=base, timeout=10) as client:
        assert client.get("/healthz").json() == {"service": service, "is_alive": True}
        assert client.get("/readyz").status_code == 401
        ready = client.get("/readyz", headers=running_system.authorization)
        assert ready.status_code == 200
        assert ready.json()["machine"] == "pc2"
        metrics = client.get("/metrics", headers=running_system.authorization).text
        assert f'zejzl_service_ready{{service="{service}"}} 1.0' in metrics
        refused = client.get("/v1/agents", headers=running_system.authorization)
        assert (refused.status_code, refused.headers["content-type"]) == (404, "application/problem+json")


def test_the_dashboard_is_closed_without_the_token_and_lists_nodes_and_actors_with_it(
    running_system: System,
) -> None:
    token = (running_system.data_dir / "ray_token").read_text()
    with httpx2.Client(base_url=running_system.info["dashboard"], timeout=20) as client:
        assert client.get("/api/v0/actors").status_code == 401
        headers = {"Authorization": f"Bearer {token}"}
        rows = client.get("/api/v0/actors", params={"detail": True}, headers=headers).json()
        names = {row["name"] for row in rows["data"]["result"]["result"]}
        assert {*SERVICES, "node_agent:mainpc", "node_agent:pc2"} <= names
        nodes = client.get("/api/v0/nodes", headers=headers).json()["data"]["result"]["result"]
        assert len([node for node in nodes if node["state"] == "ALIVE"]) == 2


def test_tokens_are_for_the_owner_only_and_stand_in_no_process_list(running_system: System) -> None:
    tokens = []
    for name in ("token", "ray_token"):
        path = running_system.data_dir / name
        assert path.stat().st_mode & 0o777 == 0o600
        tokens.append(path.read_text())
    for process in find_node_processes(cluster_id(running_system.data_dir)):
        try:
            line = " ".join(process.cmdline())
        except psutil.Error:
            continue
        assert not any(token in line for token in tokens), process.pid


@pytest.fixture
def foreign_ray() -> Iterator[psutil.Process]:
    """Another Ray cluster of the same computer."""
    directory = new_data_dir()
    port = free_ports(1)[0]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("ZEJZL_", "RAY_"))}
    environment |= {"RAY_AUTH_MODE": "disabled", "FOREIGN_RAY": str(directory)}
    subprocess.run(
        [Path(sys.executable).with_name("ray"), "start", "--head", f"--port={port}", f"--temp-dir={directory}",
         "--include-dashboard=false", "--num-cpus=1", "--object-store-memory=100000000", "--disable-usage-stats",
         f"--ray-client-server-port={free_ports(1)[0]}", "--node-ip-address=127.0.0.1"],
        env=environment, check=True, timeout=90, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    ours = [process for process in psutil.process_iter() if _started_with(process, str(directory))]
    raylet = next(process for process in ours if process.name() == "raylet")
    yield raylet
    for process in ours:
        for each in [*_children(process), process]:
            if each.is_running():
                each.kill()
    shutil.rmtree(directory, ignore_errors=True)


def _started_with(process: psutil.Process, directory: str) -> bool:
    try:
        return process.environ().get("FOREIGN_RAY") == directory
    except (psutil.Error, OSError):
        return False


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def test_an_interrupted_start_leaves_nothing_after_down_and_other_clusters_alone(
    foreign_ray: psutil.Process, tmp_path: Path
) -> None:
    data_dir = new_data_dir()
    system = System(data_dir, system_environment(data_dir))
    log = data_dir / "up.log"
    with log.open("wb") as output:
        starting = subprocess.Popen(
            [sys.executable, "-m", "zejzl_ray.cli.main", "up"],
            env=system.environment,
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
        )
    try:
        deadline_s = time.monotonic() + 60
        while not any(process.name() == "raylet" for process in find_node_processes(cluster_id(data_dir))):
            assert time.monotonic() < deadline_s, log.read_text()
            time.sleep(0.1)
        record = read_record(data_dir)
        assert record is not None
    finally:
        starting.send_signal(signal.SIGKILL)
        starting.wait(timeout=10)
    temp_dir = record.temp_dir
    assert temp_dir.exists()
    assert temp_dir.parent.stat().st_mode & 0o777 == 0o700
    system.down()
    # `ray start` itself may have been under way; it carries the marker too
    assert find_node_processes(cluster_id(data_dir)) == []
    assert not temp_dir.parent.exists()
    assert not haproxy_directory(data_dir).exists()
    assert read_record(data_dir) is None
    assert foreign_ray.is_running()
    assert run_zejzl(["down"], system_environment(tmp_path)).stdout.strip() == "nothing was running"


def test_a_taken_port_is_named_with_the_setting_that_moves_it(running_system: System, tmp_path: Path) -> None:
    data_dir = tmp_path
    taken = running_system.environment["ZEJZL_HTTP_PORT"]
    environment = system_environment(data_dir, ZEJZL_HTTP_PORT=taken)
    done = run_zejzl(["up"], environment)
    assert done.returncode == 1
    assert f"{taken} (ZEJZL_HTTP_PORT)" in done.stderr
    assert not haproxy_directory(data_dir).exists()
    assert "Traceback" not in done.stderr
    assert find_node_processes(cluster_id(data_dir)) == []
