"""``ray up`` installs the project on machines that have nothing but Python and no way to the internet."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hosts.commands import CommandFailed, Finished
from tests.hosts.ray_cluster import DATA_DIR, RayCluster, two_hosts_with_release
from tests.hosts.release_of import release_of_this_tree
from tests.hosts.waiting import wait_until
from zejzl_ray.release.folder import ReleaseManifest

pytestmark = pytest.mark.timeout(400)

_CURRENT = f"{DATA_DIR}/releases/current/venv/bin"


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> tuple[ReleaseManifest, Path]:
    """A release of this very source tree."""
    folder = tmp_path_factory.mktemp("release") / "release"
    return release_of_this_tree(folder), folder


@pytest.fixture(scope="module")
def cluster(prefix: str, release: tuple[ReleaseManifest, Path]) -> Iterator[RayCluster]:
    """Two hosts on which the steps of ``cluster.yaml`` have been done, and ``ray up`` has run once."""
    with two_hosts_with_release(f"{prefix}i", release[1]) as cluster:
        cluster.prepare()
        try:
            cluster.up()
        except CommandFailed as error:
            raise AssertionError(f"{error}\n{cluster.logs()}") from None
        yield cluster


@pytest.fixture(scope="module")
def status(cluster: RayCluster) -> dict[str, Any]:
    try:
        wait_until(lambda: _status(cluster).status == 0, limit_s=120, what="every service is ready")
    except AssertionError:
        last = _status(cluster)
        raise AssertionError(f"{last.output}\n{last.errors}\n{cluster.logs()}") from None
    found: dict[str, Any] = json.loads(_status(cluster).output)
    return found


def test_the_services_run_from_the_carried_release_on_both_machines(
    cluster: RayCluster, status: dict[str, Any], release: tuple[ReleaseManifest, Path]
) -> None:
    assert {machine["name"] for machine in status["machines"] if machine["is_alive"]} == {"mainpc", "pc2"}
    for host in (cluster.mainpc, cluster.pc2):
        assert host.run(f"readlink {DATA_DIR}/releases/current").output.strip() == release[0].id
        ray = [line for line in host.processes() if "raylet" in line.split()[0]]
        assert ray
        assert all(f"releases/{release[0].id}/venv" in line for line in ray)
    assert "zejzl" not in cluster.pc2.run("ls /usr/bin; command -v zejzl ray", is_checked=False).output


def _status(cluster: RayCluster) -> Finished:
    return cluster.mainpc.run(f"{_CURRENT}/zejzl status --json", is_checked=False, timeout_s=30)
