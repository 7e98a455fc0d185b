"""``ray up cluster.yaml`` and ``ray down`` for real, on two hosts; in this order, the last one stops all."""

import json
import shlex
from typing import Any

import pytest

from tests.hosts.commands import Finished
from tests.hosts.ray_cluster import VRAM_MIB, RayCluster
from tests.hosts.waiting import wait_until
from zejzl_ray.cluster.names import MACHINE_LABEL, SERVICES, VRAM_RESOURCE, node_agent_name
from zejzl_ray.cluster.topology import PLACES

_NODES = """
answer([[n['Labels'], n['Resources'], n['NodeManagerAddress'], n['NodeID']] for n in ray.nodes() if n['Alive']])
"""


@pytest.fixture(scope="module")
def status(ray_cluster: RayCluster) -> dict[str, Any]:
    """What ``zejzl status --json`` says on mainpc once everything is ready."""

    try:
        wait_until(lambda: _status(ray_cluster).status == 0, limit_s=90, what="every service is ready")
    except AssertionError:
        last = _status(ray_cluster)
        raise AssertionError(f"{last.output}\n{last.errors}\n{ray_cluster.logs()}") from None
    found: dict[str, Any] = json.loads(_status(ray_cluster).output)
    return found


def test_both_nodes_are_alive_with_their_labels_and_video_memory(ray_cluster: RayCluster) -> None:
    nodes = wait_until(lambda: _two(ray_cluster.ask(_NODES)), limit_s=60, what="both nodes have joined")

    machines = {labels[MACHINE_LABEL]: (resources, address) for labels, resources, address, _ in nodes}
    assert machines["mainpc"][1] == ray_cluster.mainpc.address
    assert machines["pc2"][1] == ray_cluster.pc2.address
    assert {name: resources[VRAM_RESOURCE] for name, (resources, _) in machines.items()} == VRAM_MIB
    assert {name: resources["CPU"] for name, (resources, _) in machines.items()} == {"mainpc": 1, "pc2": 1}


def test_a_repeated_ray_up_leaves_both_nodes_alone(ray_cluster: RayCluster) -> None:
    before = sorted(node[3] for node in ray_cluster.ask(_NODES))

    ray_cluster.up()

    assert sorted(node[3] for node in ray_cluster.ask(_NODES)) == before


def test_a_program_without_the_token_is_refused(ray_cluster: RayCluster) -> None:
    address = f"{ray_cluster.mainpc.address}:6379"
    program = f"import ray; ray.init(address={address!r}, log_to_driver=False); print('inside')"

    done = ray_cluster.pc2.run(
        f"RAY_AUTH_MODE=disabled timeout 10 python -c {shlex.quote(program)} 2>&1", is_checked=False
    )

    assert "inside" not in done.output.splitlines()
    assert "Unauthenticated" in done.output


def test_every_service_answers_from_its_home(status: dict[str, Any]) -> None:
    homes = {service["service"]: service["machine"] for service in status["services"] if service["is_ready"]}

    assert homes == {service: PLACES[service].home for service in SERVICES}


def test_the_fleet_is_loaded_and_both_machines_report(status: dict[str, Any]) -> None:
    assert status["agents"]["agents"] > 0
    assert {machine["name"] for machine in status["machines"] if machine["is_alive"]} == {"mainpc", "pc2"}


def test_work_that_needs_video_memory_runs_where_it_fits_or_is_refused(
    ray_cluster: RayCluster, status: dict[str, Any]
) -> None:
    found = ray_cluster.ask(
        """
        @ray.remote(num_cpus=0)
        def where():
            return ray.get_runtime_context().get_node_labels()["zejzl.io/machine"]

        def ask(mib):
            return where.options(resources={"vram_mib": mib}, num_cpus=0).remote()

        large = ray.get([ask(20000) for _ in range(2)], timeout=40)
        too_large, waiting = ask(30000), None
        done, waiting = ray.wait([too_large], timeout=3)
        answer({"large": large, "is_too_large_refused": not done})
        """
    )

    assert found == {"large": ["mainpc", "mainpc"], "is_too_large_refused": True}


def test_the_dashboard_lists_both_nodes_and_the_named_actors(
    ray_cluster: RayCluster, status: dict[str, Any]
) -> None:
    nodes = ray_cluster.dashboard("/api/v0/nodes")["data"]["result"]["result"]
    actors = ray_cluster.dashboard("/api/v0/actors?limit=1000")["data"]["result"]["result"]

    alive = {node["labels"][MACHINE_LABEL] for node in nodes if node["state"] == "ALIVE"}
    named = {actor["name"] for actor in actors if actor["state"] == "ALIVE"}
    assert alive == {"mainpc", "pc2"}
    assert named >= {*SERVICES, node_agent_name("mainpc"), node_agent_name("pc2")}


def test_the_dashboard_is_closed_without_the_token_and_to_other_machines(ray_cluster: RayCluster) -> None:
    mainpc, pc2 = ray_cluster.mainpc, ray_cluster.pc2

    anonymous = mainpc.run("curl -s -o /dev/null -w '%{http_code}' -m 10 http://127.0.0.1:8265/api/v0/nodes")
    from_outside = pc2.run(f"curl -s -m 5 http://{mainpc.address}:8265/", is_checked=False)

    assert anonymous.output == "401"
    assert from_outside.status != 0


def test_no_secret_stands_in_a_process_list(ray_cluster: RayCluster) -> None:
    token = ray_cluster.mainpc.run("cat ~/.local/share/zejzl/ray_token").output.strip()

    assert len(token) > 30
    for host in (ray_cluster.mainpc, ray_cluster.pc2):
        assert host.run("stat -c %a ~/.local/share/zejzl/ray_token").output.strip() == "600"
        assert not [line for line in host.processes() if token in line]


def test_ray_down_leaves_nothing_running_on_either_host(ray_cluster: RayCluster) -> None:
    ray_cluster.down()

    def leftovers() -> list[str]:
        hosts = (ray_cluster.mainpc, ray_cluster.pc2)
        return [
            f"{host.name}: {line[:200]}" for host in hosts for line in host.processes() if not _is_own(line)
        ]

    wait_until(lambda: not leftovers(), limit_s=60, what="nothing runs any more")
    assert leftovers() == []
    for host in (ray_cluster.mainpc, ray_cluster.pc2):
        assert host.run("find /dev/shm -type f").output == ""


def _status(ray_cluster: RayCluster) -> Finished:
    return ray_cluster.mainpc.run("zejzl status --json", is_checked=False, timeout_s=30)


def _two(nodes: list[Any]) -> list[Any]:
    return nodes if len(nodes) == 2 else []


def _is_own(line: str) -> bool:
    """Whether it was there before anything was started, or is Ray's own ssh master."""
    return line.startswith(("unshare --pid", "bash /var/tmp/", "sshd: ", "ssh: ", "/usr/sbin/sshd"))
