"""An upgrade of both hosts and the way back, while a client writes: nothing that was acknowledged is lost."""

import json
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts.commands import Finished
from tests.hosts.ray_cluster import DATA_DIR, RayCluster, two_hosts_with_release
from tests.hosts.release_of import next_release, release_of_this_tree
from tests.hosts.waiting import wait_until
from zejzl_ray.release.folder import ReleaseManifest

pytestmark = pytest.mark.timeout(500)

_BIN = f"{DATA_DIR}/releases/current/venv/bin"


class Upgrading:
    """Two hosts that run the first of two releases."""

    def __init__(
        self, cluster: RayCluster, first: ReleaseManifest, second: ReleaseManifest, folder: Path
    ) -> None:
        self.cluster = cluster
        self.first = first
        self.second = second
        self.folder = folder

    def status(self) -> Finished:
        return self.cluster.mainpc.run(f"{_BIN}/zejzl status --json", is_checked=False, timeout_s=30)

    def wait_until_ready(self, release: ReleaseManifest) -> float:
        """Wait until both hosts run this release and all services are ready; return the seconds that it took."""
        started_s = time.monotonic()
        try:
            wait_until(
                lambda: self._runs(release) and self.status().status == 0,
                limit_s=180,
                what=f"{release.id} is ready",
            )
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.status()}\n{self.cluster.logs()}") from None
        return time.monotonic() - started_s

    def _runs(self, release: ReleaseManifest) -> bool:
        hosts = (self.cluster.mainpc, self.cluster.pc2)
        found = [[line for line in host.processes() if "/raylet/raylet " in line] for host in hosts]
        return all(lines and all(f"releases/{release.id}/" in line for line in lines) for lines in found)


@pytest.fixture(scope="module")
def upgrading(prefix: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upgrading]:
    root = tmp_path_factory.mktemp("releases")
    first = release_of_this_tree(root / "first")
    second = next_release(root / "first", root / "tree", root / "second", "99.0.0")
    with two_hosts_with_release(f"{prefix}u", root / "first") as cluster:
        cluster.prepare()
        cluster.up()
        found = Upgrading(cluster, first, second, root / "second")
        found.wait_until_ready(first)
        yield found


def test_an_upgrade_and_the_way_back_lose_nothing_that_was_acknowledged(
    upgrading: Upgrading, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster, first, second = upgrading.cluster, upgrading.first, upgrading.second
    mainpc = cluster.mainpc
    home = mainpc.folder / "home"
    shutil.copyfile(Path(__file__).with_name("acknowledging_writer.py"), home / "writer.py")
    mainpc.run(
        f"setsid {_BIN}/python ~/writer.py ~/acknowledged >~/writer.log 2>&1 </dev/null & echo $! >~/writer.pid"
    )
    written = home / "acknowledged"
    wait_until(
        lambda: written.exists() and len(written.read_text().split()) > 50, limit_s=60, what="it writes"
    )

    data = home / ".local/share/zejzl"
    shutil.rmtree(data / "release")
    shutil.copytree(upgrading.folder, data / "release")
    started_s = time.monotonic()
    cluster.up()
    upgrading.wait_until_ready(second)
    upgraded_s = time.monotonic() - started_s
    before_s = len(written.read_text().split())
    wait_until(
        lambda: len(written.read_text().split()) > before_s + 50, limit_s=60, what="it writes with the second"
    )
    started_s = time.monotonic()
    mainpc.run("zejzl rollback cluster.yaml", timeout_s=400)
    upgrading.wait_until_ready(first)
    back_s = time.monotonic() - started_s
    after = len(written.read_text().split())
    wait_until(
        lambda: len(written.read_text().split()) > after + 50, limit_s=60, what="it writes with the first"
    )
    mainpc.run("kill $(cat ~/writer.pid)", is_checked=False)

    acknowledged = set(written.read_text().split())
    program = (
        "import json; from zejzl_ray import connect\nwith connect() as client:\n"
        "    print(json.dumps([agent.name for agent in client.list_agents()]))"
    )
    there = set(json.loads(mainpc.run(f"{_BIN}/python -c '{program}'", timeout_s=60).output.splitlines()[-1]))
    with capsys.disabled():
        sys.stdout.write(
            f"\n{len(acknowledged)} acknowledged; upgrade {upgraded_s:.0f} s, rollback {back_s:.0f} s to ready\n"
        )
    assert acknowledged - there == set()
    for host in (cluster.mainpc, cluster.pc2):
        assert host.run(f"readlink {DATA_DIR}/releases/current").output.strip() == first.id
    assert len(list((data / "backups").iterdir())) == 2  # one before each change

    said = mainpc.run("python3 ~/.local/share/zejzl/release/install.py").output
    assert "left alone" in said  # so that the next `ray up` does not upgrade again
    assert f"{second.id}" in said
