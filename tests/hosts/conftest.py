"""Hosts for the tests of this folder; skipped with the reason where they cannot be made."""

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.hosts.hosts import Host, reason_to_skip
from tests.hosts.leftovers import names_of_this_run
from tests.hosts.network import Network
from tests.hosts.ray_cluster import RayCluster
from tests.hosts.stage import SLACK, Stage, a_cluster, a_stage

Tell = Callable[[str, float, float], None]

_WITHOUT_CLUSTER = ("test_hosts_are_hosts", "test_disk_and_clock")
_STOPPING = ("test_ray_down", "test_one_command_stops")
_HERE = Path(__file__).parent
_REASON = reason_to_skip()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip everything in this folder where hosts cannot be made; put the tests of the one cluster in their order."""
    if _REASON is not None:
        for item in items:
            if item.path.is_relative_to(_HERE):
                item.add_marker(pytest.mark.skip(reason=_REASON))
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    """Return when a test comes: others of the folder keep their place among those of the same turn.

    What leaves the cluster as it is comes first, then what takes parts of it away, then what stops it for good; then
    those that bring a cluster of their own, so that there are never two at once.
    """
    fixtures = getattr(item, "fixturenames", ())
    if not item.path.is_relative_to(_HERE):
        return 0
    if "ray_cluster" not in fixtures:
        return 4 if item.path.stem not in _WITHOUT_CLUSTER else 0
    if item.name.startswith(_STOPPING):
        return 3
    return 2 if "stage" in fixtures else 1


@pytest.fixture(scope="session")
def prefix() -> Iterator[str]:
    """Start of every name of this run; what dead runs left is removed first."""
    with names_of_this_run() as name:
        yield name


@pytest.fixture(scope="module")
def bare_hosts(prefix: str) -> Iterator[tuple[Host, Host]]:
    """Two hosts without anything on them."""
    with contextlib.ExitStack() as stack:
        network = stack.enter_context(Network(f"{prefix}a"))
        names = {"one": network.address(1), "two": network.address(2)}
        first = stack.enter_context(Host(network, "one", 1, neighbours=names))
        second = stack.enter_context(Host(network, "two", 2, neighbours=names))
        yield first, second


@pytest.fixture(scope="session")
def ray_cluster(prefix: str) -> Iterator[RayCluster]:
    """Two hosts on which ``ray up cluster.yaml`` has run once; one cluster for all tests, in the order below."""
    with a_cluster(f"{prefix}r") as cluster:
        yield cluster


@pytest.fixture(scope="session")
def stage(ray_cluster: RayCluster) -> Stage:
    """The cluster for the tests that take parts of it away; each leaves both machines in it."""
    return a_stage(ray_cluster)


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Tell:
    """Show a time beside its bar, whatever pytest does with output, and fail at three times the bar."""

    def show(what: str, took_s: float, bar_s: float) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n  {what}: {took_s:.1f} s (bar {bar_s:g} s)")
        assert took_s <= SLACK * bar_s

    return show


@pytest.fixture
def dead_pid() -> int:
    """A process id that no process has."""
    finished = subprocess.Popen(["true"])
    finished.wait()
    return finished.pid
