"""``ray up cluster.yaml`` and ``ray down`` for real, on two hosts; in this order, the last one stops all."""

import json
from typing import Any

import pytest

from tests.hosts.commands import Finished
from tests.hosts.hosts import Host
from tests.hosts.ray_cluster import DATA_DIR, VRAM_MIB, RayCluster
from tests.hosts.waiting import wait_until
from zejzl_ray.cluster.names import MACHINE_LABEL, SECURITY_GATEWAY, SERVICES, VRAM_RESOURCE, node_agent_name
from zejzl_ray.cluster.topology import PLACES

_NODES = """
answer([[n['Labels'], n['Resources'], n['NodeManagerAddress'], n['NodeID']] for n in ray.nodes() if n['Alive']])
"""

_PLACING = """
import asyncio, subprocess
from zejzl_ray.cluster.vram_placement import VramPlacer
from zejzl_ray.errors import NoCapacity
from zejzl_ray.sdk.connect import connect_async

class Model:
    def where(self):
        return ray.get_runtime_context().get_node_labels()["zejzl.io/machine"]

async def start(placer, name, vram_mib):
    placed = await placer.start(Model, name=name, vram_mib=vram_mib)
    return placed, [placed.machine, await placed.handle.where.remote()]

async def place_all():
    client = connect_async("ray")
    placer = VramPlacer(client.orchestrator, "models")
    placed, small = await start(placer, "small", 8_000)
    ray.kill(placed.handle)
    while ray.available_resources().get("vram_mib") != ray.cluster_resources()["vram_mib"]:
        await asyncio.sleep(0.05)
    kept, large = await start(placer, "large", 20_000)
    kept_too, further = await start(placer, "further", 8_000)
    try:
        await placer.start(Model, name="giant", vram_mib=30_000)
        refusal = ""
    except NoCapacity as error:
        refusal = str(error)
    command = ["zejzl", "status", "--placement", "--json"]
    rows = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=30).stdout)
    shown = {row["name"]: [row["vram_mib"], row["machine"], row["gpu_uuid"]] for row in rows if row["vram_mib"]}
    await client.close()
    return {"small": small, "large": large, "further": further, "refusal": refusal, "shown": shown}

answer(asyncio.run(place_all()))
"""

_WITH_SQLITE = """
import time
from pydantic import SecretStr
from actors.error_bus import ErrorBusActor
from actors.place import ServiceOptions, start_service
from zejzl_ray.cluster.topology import PLACES
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.health import GetHealth
from zejzl_ray.settings import Settings

settings = Settings(
    store_url="sqlite", namespace="other", environment="dev", require_auth=False, bind_host="127.0.0.1"
)
options = ServiceOptions(settings, SecretStr("unused"))
actor = start_service(ErrorBusActor, PLACES["error_bus"], options, namespace="other")
reason = "starting"
while reason == "starting":
    time.sleep(0.1)
    health = ray.get(actor.health.remote(GetHealth(), CallContext()), timeout=30)
    reason = health.checks[0].reason if health.machine == "pc2" and not health.is_ready else "it is ready"
ray.kill(actor)
answer(reason)
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


def test_every_service_answers_from_its_home(status: dict[str, Any]) -> None:
    homes = {service["service"]: service["machine"] for service in status["services"] if service["is_ready"]}

    assert homes == {service: PLACES[service].home for service in SERVICES}


def test_the_fleet_is_loaded_and_both_machines_report(status: dict[str, Any]) -> None:
    assert status["agents"]["agents"] > 0
    assert {machine["name"] for machine in status["machines"] if machine["is_alive"]} == {"mainpc", "pc2"}


def test_the_state_of_every_service_lies_in_redis_and_in_no_file(
    ray_cluster: RayCluster, status: dict[str, Any]
) -> None:
    keys = set(ray_cluster.redis("keys", "{zejzl:*}:meta"))

    # The gateway keeps the audit trail of its process beside its own; the others have a namespace for theirs.
    trails = [f"{service}.audit" for service in SERVICES if service != SECURITY_GATEWAY]
    assert keys == {f"{{zejzl:{namespace}}}:meta" for namespace in (*SERVICES, *trails)}
    for host in (ray_cluster.mainpc, ray_cluster.pc2):
        assert host.run(f"find {DATA_DIR} -name '*.sqlite3'").output == ""


def test_a_store_that_lies_on_one_machine_is_refused_by_the_start_command(
    ray_cluster: RayCluster, status: dict[str, Any]
) -> None:
    done = ray_cluster.mainpc.run(
        "zejzl node start --head --machine mainpc --cluster-file ~/ray_bootstrap_config.yaml",
        is_checked=False,
    )

    assert done.status == 1
    assert "The store sqlite lies on one machine" in done.errors
    assert "ZEJZL_STORE_URL" in done.errors
    assert _status(ray_cluster).status == 0


def test_a_service_with_a_store_that_lies_on_one_machine_says_so_and_opens_nothing(
    ray_cluster: RayCluster, status: dict[str, Any]
) -> None:
    reason = ray_cluster.ask(_WITH_SQLITE)

    assert "The store sqlite lies on one machine" in reason
    assert "ZEJZL_STORE_URL" in reason
    assert ray_cluster.pc2.run(f"find {DATA_DIR} -name '*.sqlite3'").output == ""


@pytest.mark.parametrize("service", ["core_orchestrator", "resource_manager"])
def test_a_killed_service_comes_back_with_what_was_acknowledged(
    ray_cluster: RayCluster, status: dict[str, Any], service: str
) -> None:
    before = next(found for found in status["services"] if found["service"] == service)
    host = {"mainpc": ray_cluster.mainpc, "pc2": ray_cluster.pc2}[before["machine"]]
    agent = f"kept_over_{service}"
    ray_cluster.python(
        f"""
        from zejzl_ray import connect
        with connect() as client:
            answer(client.register({agent!r}, port=5599, kind="actor", lease_s=600).name)
        """
    )

    host.run(f"kill -9 {before['pid']}")
    after = wait_until(
        lambda: _another_process(ray_cluster, service, before["pid"]), limit_s=60, what=f"{service} is back"
    )
    found = ray_cluster.python(
        f"""
        from zejzl_ray import connect
        with connect() as client:
            answer(client.agent({agent!r}).port)
        """
    )

    assert after["machine"] == before["machine"]
    assert after["epoch"] > before["epoch"]  # an empty store would begin at 1 again
    assert found == 5599


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


def test_the_placer_takes_the_big_card_then_the_other_and_refuses_what_fits_on_none(
    ray_cluster: RayCluster, status: dict[str, Any]
) -> None:
    found = ray_cluster.ask(_PLACING, timeout_s=90)

    assert found["small"] == found["large"] == ["mainpc", "mainpc"]
    assert found["further"] == ["pc2", "pc2"]
    assert "largest free card is 4564 MiB (RTX 4090 on mainpc)" in found["refusal"]
    assert found["shown"] == {
        "large": [20_000, "mainpc", "GPU-sim-mainpc-0"],
        "further": [8_000, "pc2", "GPU-sim-pc2-0"],
    }


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


@pytest.mark.parametrize("name", ["ray_token", "redis_password", "security_key"])
def test_no_secret_stands_in_a_process_list_a_log_or_an_environment(
    ray_cluster: RayCluster, status: dict[str, Any], name: str
) -> None:
    secret = ray_cluster.mainpc.run(f"cat {DATA_DIR}/{name}").output.strip()

    assert len(secret) > 30
    for host in (ray_cluster.mainpc, ray_cluster.pc2):
        assert host.run(f"stat -c %a {DATA_DIR}/{name}").output.strip() == "600"
        assert not [line for line in host.processes() if secret in line]
        # Ray's own logs and those of the project; the pattern comes from the file, so it is in no process list.
        places = f"{DATA_DIR}/*.log /tmp/zejzl-*/r/session_latest/logs /proc/[0-9]*/environ"
        found = host.run(f"grep -rlasF -f {DATA_DIR}/{name} {DATA_DIR}/{name} {places}", timeout_s=60)
        assert found.output.split() == [f"{host.home}/.local/share/zejzl/{name}"]  # so the search does find


def test_the_commands_for_one_machine_leave_the_cluster_alone(
    ray_cluster: RayCluster, status: dict[str, Any]
) -> None:
    for host in (ray_cluster.mainpc, ray_cluster.pc2):
        for command in ("zejzl down", "zejzl up"):
            done = host.run(command, is_checked=False)

            assert done.status == 1
            assert "ray down" in done.errors
    assert _status(ray_cluster).status == 0


def test_ray_down_leaves_nothing_running_on_either_host_even_where_the_head_cannot_reach_the_worker(
    ray_cluster: RayCluster,
) -> None:
    pc2 = ray_cluster.pc2
    pc2.run("mv ~/.ssh/authorized_keys ~/.ssh/kept")

    ray_cluster.down()

    wait_until(lambda: not _running(pc2), limit_s=20, what="PC2 has found the mark and left")
    pc2.run("mv ~/.ssh/kept ~/.ssh/authorized_keys")
    _nothing_runs(ray_cluster)


def test_one_command_stops_every_machine_and_another_removes_the_data_once_they_are_stopped(
    ray_cluster: RayCluster,
) -> None:
    mainpc = ray_cluster.mainpc
    ray_cluster.up()
    wait_until(lambda: _two(ray_cluster.ask(_NODES)), limit_s=60, what="both nodes have joined")
    refused = mainpc.run("zejzl cluster purge --yes --json cluster.yaml", is_checked=False, timeout_s=60)
    down = mainpc.run("zejzl cluster down --json cluster.yaml", timeout_s=90)
    _nothing_runs(ray_cluster)
    purged = mainpc.run("zejzl cluster purge --yes --json cluster.yaml", timeout_s=60)

    assert refused.status == 1
    assert "The cluster is up on this machine" in refused.output
    said = {row["machine"]: row["said"] for row in json.loads(down.output)["machines"]}
    assert said == {"mainpc": "node mainpc: stopped", "pc2": "node pc2: stopped"}
    assert json.loads(purged.output)["is_done"]
    assert ray_cluster.redis("keys", "*") == []
    for host in (mainpc, ray_cluster.pc2):
        left = set(host.run(f"ls {DATA_DIR}").output.split())
        assert {"ray_token", "security_key", "tls"} <= left
        assert not left & {"logs", "node.json", "node_intent.json", "node.log", "store"}


def _running(host: Host) -> list[str]:
    return [line[:200] for line in host.processes() if not _is_own(line)]


def _nothing_runs(ray_cluster: RayCluster) -> None:
    hosts = (ray_cluster.mainpc, ray_cluster.pc2)
    left = {host.name: _running(host) for host in hosts}

    def leftovers() -> bool:
        left.update({host.name: _running(host) for host in hosts})
        return any(left.values())

    wait_until(lambda: not leftovers(), limit_s=60, what="nothing runs any more")
    assert left == {"mainpc": [], "pc2": []}
    for host in hosts:
        assert host.run("find /dev/shm -type f").output == ""
        assert host.run("find /tmp -maxdepth 1 -name 'zj*'").output == ""


def _status(ray_cluster: RayCluster) -> Finished:
    return ray_cluster.mainpc.run("zejzl status --json", is_checked=False, timeout_s=30)


def _another_process(ray_cluster: RayCluster, service: str, pid: int) -> dict[str, Any]:
    """Return the service's health once another process than this one is ready."""
    output = _status(ray_cluster).output
    found: dict[str, Any] = next(
        (row for row in json.loads(output or "{}").get("services", ()) if row["service"] == service), {}
    )
    return found if found.get("is_ready") and found["pid"] != pid else {}


def _two(nodes: list[Any]) -> list[Any]:
    return nodes if len(nodes) == 2 else []


def _is_own(line: str) -> bool:
    """Whether it was there before anything was started, or is Ray's own ssh master, or Redis."""
    own = ("unshare --pid", "bash /var/tmp/", "sshd: ", "ssh: ", "/usr/sbin/sshd")
    return line.startswith(own) or "redis-server" in line.split(maxsplit=1)[0]
