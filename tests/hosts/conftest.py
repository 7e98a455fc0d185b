"""Hosts for the tests of this folder; skipped with the reason where they cannot be made."""

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.hosts.commands import CommandFailed
from tests.hosts.hosts import Host, reason_to_skip
from tests.hosts.leftovers import BASE, clean_leftovers, own_prefix
from tests.hosts.network import Network
from tests.hosts.ray_cluster import RayCluster, two_hosts
from tests.hosts.stage import SLACK, Stage, a_stage

Tell = Callable[[str, float, float], None]

_HERE = Path(__file__).parent
_REASON = reason_to_skip()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip everything in this folder where hosts cannot be made."""
    if _REASON is not None:
        for item in items:
            if item.path.is_relative_to(_HERE):
                item.add_marker(pytest.mark.skip(reason=_REASON))


@pytest.fixture(scope="session")
def prefix() -> Iterator[str]:
    """Start of every name of this run; what dead runs left is removed first."""
    clean_leftovers()
    name = own_prefix()
    yield name
    for path in BASE.glob(f"{name}*"):
        shutil.rmtree(path, ignore_errors=True)


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
    """Two hosts on which ``ray up cluster.yaml`` has run once."""
    with two_hosts(f"{prefix}r") as cluster:
        try:
            cluster.up()
        except CommandFailed as error:
            raise AssertionError(f"{error}\n{cluster.logs()}") from None
        yield cluster


@pytest.fixture(scope="session")
def stage(prefix: str) -> Iterator[Stage]:
    """A cluster for the tests that take parts of it away; each leaves both machines in it."""
    with a_stage(f"{prefix}f") as stage:
        yield stage


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
