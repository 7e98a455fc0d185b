"""Find and stop the processes of our own Ray nodes, and nobody else's.

``ray stop`` ends every Ray process that it can see. Here a node is known by its marker in the environment of
the processes that ``ray start`` left behind. Processes that write their own title (Ray's agents, its
dashboard's parts) overwrite the memory from which the kernel answers for the environment; they are found as
descendants of the others.
"""

import contextlib
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import psutil

from zejzl_ray.cluster.node_start import MARKER

_RAYLET = "raylet"
_GCS = "gcs_server"
_KILL_WAIT_S = 5.0


@dataclass(frozen=True, slots=True)
class StopReport:
    """What a stop has done: how many ended when asked, how many had to be killed, and who is still there."""

    ended: int
    killed: int
    left: tuple[int, ...]


def find_node_processes(cluster_id: str, machine: str | None = None) -> list[psutil.Process]:
    """Return the processes of one node, or of all nodes of the cluster on this machine.

    The calling process and its own ancestors are never among them.
    """
    marked = [process for process in psutil.process_iter() if _is_marked(process, cluster_id, machine)]
    found = {process.pid: process for process in marked}
    for process in marked:
        for child in _descendants(process):
            found.setdefault(child.pid, child)
    for pid in _own_line():
        found.pop(pid, None)
    return list(found.values())


def is_node_running(cluster_id: str, machine: str) -> bool:
    """Return whether the node's raylet lives."""
    return any(_name(process) == _RAYLET for process in find_node_processes(cluster_id, machine))


def stop_node(cluster_id: str, machine: str | None = None, *, grace_s: float = 8.0) -> StopReport:
    """End the processes of one node, or of all nodes of the cluster on this machine; safe to repeat.

    First the raylets, which take their workers with them; then the rest; the GCS last. What has not ended
    after ``grace_s`` (for all steps together) is killed. Returns within about ``grace_s`` + 5 s.
    """
    deadline_s = time.monotonic() + grace_s
    ended = 0
    everybody = find_node_processes(cluster_id, machine)
    raylets, others, gcs = _by_step(everybody)
    for step, share in ((raylets, 0.6), (others, 0.5), (gcs, 1.0)):
        _signal(step, is_final=False)
        gone, _ = psutil.wait_procs(step, timeout=max(0.0, (deadline_s - time.monotonic()) * share))
        ended += len(gone)
    remaining = {process.pid: process for process in everybody if _is_alive(process)}
    remaining.update((process.pid, process) for process in find_node_processes(cluster_id, machine))
    _signal(remaining.values(), is_final=True)
    killed, left = psutil.wait_procs(list(remaining.values()), timeout=_KILL_WAIT_S)
    return StopReport(ended=ended, killed=len(killed), left=tuple(process.pid for process in left))


def _by_step(
    processes: Iterable[psutil.Process],
) -> tuple[list[psutil.Process], list[psutil.Process], list[psutil.Process]]:
    raylets: list[psutil.Process] = []
    others: list[psutil.Process] = []
    gcs: list[psutil.Process] = []
    for process in processes:
        name = _name(process)
        (raylets if name == _RAYLET else gcs if name == _GCS else others).append(process)
    return raylets, others, gcs


def _is_marked(process: psutil.Process, cluster_id: str, machine: str | None) -> bool:
    try:
        marker = process.environ().get(MARKER, "")
    except (psutil.Error, OSError):
        return False
    owner, _, name = marker.rpartition("/")
    return owner == cluster_id and machine in (None, name)


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def _own_line() -> Iterator[int]:
    yield os.getpid()
    try:
        yield from (parent.pid for parent in psutil.Process().parents())
    except psutil.Error:
        return


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.Error:
        return ""


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _signal(processes: Iterable[psutil.Process], *, is_final: bool) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            if is_final:
                process.kill()
            else:
                process.terminate()
