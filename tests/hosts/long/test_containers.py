"""The containers of deploy/compose.yaml come up in the order of the file, by the health checks of the file."""

import json
from collections.abc import Iterator

import pytest

from tests.hosts.containers import Container, spread_volumes
from tests.hosts.hosts import PROJECT, Host
from tests.hosts.network import Network
from tests.hosts.ray_cluster import provide_command
from tests.hosts.waiting import wait_until

pytestmark = pytest.mark.timeout(400)

_SMALL = {"PYTHONPATH": str(PROJECT), "ZEJZL_CPUS": "1", "ZEJZL_OBJECT_STORE_MIB": "200"}
_READY_LIMIT_S = 120.0
_HEALTHY_LIMIT_S = 120.0
Containers = dict[str, Container]


@pytest.fixture(scope="module")
def containers(prefix: str) -> Iterator[Containers]:
    """Every service of the file that is ours, up; each was started when the one that it waits for was healthy."""
    with Network(f"{prefix}k") as network:
        addresses = {"172.30.7.11": network.address(11), "172.30.7.12": network.address(12)}
        names = {"mainpc": network.address(11), "pc2": network.address(12)}
        with (
            Host(network, "mainpc", 11, environment=_SMALL, neighbours=names) as mainpc,
            Host(network, "pc2", 12, environment=_SMALL, neighbours=names) as pc2,
        ):
            for host in (mainpc, pc2):
                provide_command(host)
            mainpc.run("mkdir -p -m 700 /tmp/machines/mainpc /tmp/machines/pc2")
            for _ in range(2):  # it is run at each `up`
                Container("init", mainpc, addresses).run_to_end()
            spread_volumes(mainpc, pc2)
            made = {
                name: Container(name, host, addresses)
                for name, host in (("redis", mainpc), ("head", mainpc), ("worker", pc2))
            }
            for container in made.values():
                assert container.health().status != 0
                container.start()
                container.wait_until_healthy(_HEALTHY_LIMIT_S)
            yield made


def _wait_until_ready(containers: Containers) -> None:
    head = containers["head"]
    try:
        wait_until(
            lambda: head.run("timeout 20 zejzl status --json", is_checked=False).status == 0,
            limit_s=_READY_LIMIT_S,
            what="every service is ready",
        )
    except AssertionError as error:
        last = head.run("timeout 20 zejzl status", is_checked=False)
        logs = "\n".join(container.log() for container in containers.values())
        raise AssertionError(f"{error}\n{last.output}{last.errors}\n{logs}") from None


def test_every_service_is_ready_and_the_ingress_answers_at_its_address(containers: Containers) -> None:
    _wait_until_ready(containers)
    head = containers["head"]
    found = json.loads(head.run("zejzl status --json").output)
    answer = head.run("curl -fsS --cacert $ZEJZL_DATA_DIR/tls/ca.pem https://$HEAD_ADDRESS:7000/healthz")

    assert {machine["name"] for machine in found["machines"] if machine["is_alive"]} == {"mainpc", "pc2"}
    assert answer.output
    for container in containers.values():
        assert container.health().status == 0


def test_a_head_that_is_stopped_ends_in_order_and_comes_back_with_everything(containers: Containers) -> None:
    head = containers["head"]
    _wait_until_ready(containers)

    head.stop()

    assert head.health().status != 0
    assert not [line for line in head.host.processes() if "raylet" in line.split()[0]]
    head.start()
    head.wait_until_healthy(_HEALTHY_LIMIT_S)
    _wait_until_ready(containers)
    containers["worker"].wait_until_healthy(_HEALTHY_LIMIT_S)
