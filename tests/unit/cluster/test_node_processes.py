"""Finding and stopping processes by their marker: tried on ordinary processes."""

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator

import psutil
import pytest

from zejzl_ray.cluster.node_processes import find_node_processes, is_node_running, stop_node
from zejzl_ray.cluster.node_start import MARKER, node_marker

Start = Callable[..., "subprocess.Popen[str]"]

_WAITING = "print('ready', flush=True); import time; time.sleep(60)"
_STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + _WAITING


@pytest.fixture
def cluster_id() -> str:
    return f"test-{uuid.uuid4().hex}"


@pytest.fixture
def start(cluster_id: str) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def run(machine: str, program: str = _WAITING, *, marker: str | None = None) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-S", "-c", program],
            env={MARKER: node_marker(cluster_id, machine) if marker is None else marker},
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate(timeout=10)


def test_a_node_is_found_by_its_marker_and_its_neighbour_is_not(cluster_id: str, start: Start) -> None:
    first, second, foreign = start("mainpc"), start("pc2"), start("pc2", marker="other-cluster/pc2")

    assert {p.pid for p in find_node_processes(cluster_id, "mainpc")} == {first.pid}
    assert {p.pid for p in find_node_processes(cluster_id)} == {first.pid, second.pid}
    assert stop_node(cluster_id, "mainpc").left == ()
    assert first.poll() is not None
    assert second.poll() is None
    assert foreign.poll() is None


def test_a_child_without_the_marker_is_found_as_a_descendant(cluster_id: str, start: Start) -> None:
    program = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(60)'], env={})\n"
        + _WAITING
    )
    parent = start("mainpc", program)

    (child,) = psutil.Process(parent.pid).children()

    assert {p.pid for p in find_node_processes(cluster_id)} == {parent.pid, child.pid}
    stop_node(cluster_id)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_who_does_not_end_when_asked_is_killed(cluster_id: str, start: Start) -> None:
    process = start("mainpc", _STUBBORN)

    report = stop_node(cluster_id, grace_s=0.2)

    assert (report.ended, report.killed, report.left) == (0, 1, ())
    assert process.poll() is not None


def test_a_stop_without_any_process_does_nothing(cluster_id: str) -> None:
    report = stop_node(cluster_id)

    assert (report.ended, report.killed, report.left) == (0, 0, ())
    assert not is_node_running(cluster_id, "mainpc")


def test_the_caller_is_never_among_the_processes(cluster_id: str, start: Start) -> None:
    program = (
        "import sys; sys.path[:0] = sys.argv[1:]\n"
        "from zejzl_ray.cluster.node_processes import find_node_processes\n"
        f"print([p.pid for p in find_node_processes({cluster_id!r})])"
    )

    done = subprocess.run(
        [sys.executable, "-c", program, *sys.path],
        env={**os.environ, MARKER: node_marker(cluster_id, "mainpc")},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )

    assert done.stdout == "[]\n"
