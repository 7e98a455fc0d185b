"""The processes of this machine's Ray node, as its supervisor starts, hears and ends them; decides nothing."""

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import psutil

from zejzl_ray.cluster.membership import is_still_member
from zejzl_ray.cluster.node_ports import wait_for_ports
from zejzl_ray.cluster.node_processes import find_node_processes, stop_node
from zejzl_ray.cluster.node_restarts import CONTROL_STORE, DASHBOARD, RAYLET, SERVICES, Ending
from zejzl_ray.cluster.node_start import MARKER, NodeRole, node_marker, ray_start_command
from zejzl_ray.cluster.supervised_plan import SupervisedPlan
from zejzl_ray.errors import ClusterError
from zejzl_ray.log import get_logger

_PR_SET_CHILD_SUBREAPER = 36
SERVICES_LOG_FILE: Final = "services.log"
_START_LIMIT_S = 90.0
_PORTS_LIMIT_S = 10.0
_ORPHAN_LIMIT_S = 5.0
_RAYS_TITLE = "ray::"
_POLL_S = 0.1
_CONNECT_LIMIT_S = 1.0

log = get_logger("zejzl.supervisor")


class SupervisedNode(Protocol):
    """What a supervisor does with a node."""

    def start(self) -> None:
        """Start the whole node and return when it is up.

        Raises:
            ClusterError: it did not start.
        """

    def start_part(self, process: str) -> None:
        """Start one process of it again, which has ended; the services too.

        Raises:
            ClusterError: it cannot be started.
        """

    def clean_up(self, grace_s: float = 8.0) -> None:
        """End all that is left of it, killing what has not ended after ``grace_s``; safe to repeat."""

    def next_ending(self, limit_s: float) -> Ending | None:
        """Wait for the next process that ends; None after ``limit_s`` without one."""

    def is_head_reachable(self) -> bool:
        """Return within about a second whether the head's control store takes connections."""

    def is_member(self) -> bool | None:
        """Return whether the head still counts this node as alive; None when it does not say."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A process that can be started again as it was."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]


class RayNode:
    """The real thing: what ``ray start`` leaves behind, adopted by this process.

    Args:
        plan: what to start.
        data_dir: where logs are kept.
    """

    def __init__(self, plan: SupervisedPlan, data_dir: Path) -> None:
        self._plan = plan
        self._node = plan.node
        self._data_dir = data_dir
        self._watched: dict[int, str] = {}  # process id -> name
        self._parts: dict[str, _Part] = {}  # name -> how it was started
        adopt_orphans()

    def start(self) -> None:
        """See the protocol; whatever was left of an earlier node ends first."""
        node = self._node
        self._watched.clear()
        stop_node(node.cluster_id, node.machine)
        end_orphans()
        wait_for_ports(node, _PORTS_LIMIT_S)
        command = ray_start_command(node)
        # A file, not a pipe: the processes that stay behind keep a pipe open and us waiting.
        log_path = self._data_dir / "ray_start.log"
        try:
            with log_path.open("wb") as output:
                done = subprocess.run(
                    command.argv,
                    env={**os.environ, **self._plan.environment, **command.environment},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    timeout=_START_LIMIT_S,
                    check=False,
                )
        except subprocess.TimeoutExpired:
            raise ClusterError(
                f"Ray did not start on {node.machine} within {_START_LIMIT_S:g} s.",
                f"Is the head at {node.head_address} up, is its token the same as in {node.token_path}, and is "
                f"TLS {'on with the same authority' if node.tls is not None else 'off'} there too?",
            ) from None
        except OSError as error:
            raise ClusterError(f"Cannot run {command.argv[0]}: {error.strerror}.") from None
        if done.returncode != 0:
            raise ClusterError(
                f"Ray did not start on {node.machine}: {_last_lines(log_path.read_text(errors='replace'))}"
            )
        self._look_closely()
        if RAYLET not in self._watched.values():
            raise ClusterError(f"Ray's raylet ended on {node.machine} right after its start.")

    def _look_closely(self) -> None:
        """Note which processes to hear of, and how those were started that can be started again alone."""
        for process in find_node_processes(self._node.cluster_id, self._node.machine):
            try:
                name, argv, environment = _part_name(process), tuple(process.cmdline()), process.environ()
            except psutil.Error:
                continue  # it has just ended
            if name:
                self._watched[process.pid] = name
                self._parts[name] = _Part(argv, environment)
        # Who writes its own title overwrites its environment; `ray start` gave the same one to all.
        whole = self._parts[RAYLET].environment if RAYLET in self._parts else {}
        self._parts = {
            name: part if MARKER in part.environment else _Part(part.argv, whole)
            for name, part in self._parts.items()
        }

    def start_part(self, process: str) -> None:
        """See the protocol."""
        try:
            self._start_part(process)
        except OSError as error:  # no memory, or no room for its log
            raise ClusterError(f"Cannot start {process} again: {error.strerror}.") from None

    def _start_part(self, process: str) -> None:
        if process == SERVICES:
            self.start_services()
            return
        part = self._parts[process]
        started = subprocess.Popen(
            part.argv,
            env=dict(part.environment),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._adopt(started, process)

    def start_services(self) -> None:
        """Start the services of the plan in the background, if it has some."""
        started = start_services(self._plan, self._data_dir)
        if started is not None:
            self._adopt(started, SERVICES)

    def _adopt(self, process: "subprocess.Popen[bytes]", name: str) -> None:
        self._watched[process.pid] = name
        process.returncode = (
            0  # heard of in `next_ending`; without this the interpreter warns that it still runs
        )

    def clean_up(self, grace_s: float = 8.0) -> None:
        """See the protocol; directories outside the node's own go too."""
        report = stop_node(self._node.cluster_id, self._node.machine, grace_s=grace_s)
        if report.left:
            log.error("processes would not end", pids=report.left)
        self._watched.clear()
        for directory in self._plan.leftovers:
            shutil.rmtree(directory, ignore_errors=True)

    def next_ending(self, limit_s: float) -> Ending | None:
        """See the protocol; other children are reaped and ignored, and services that did their work too.

        Who ends first tells why: ``ray stop`` ends the raylet before everything else, and lets it exit in order; a
        control store that ends first has crashed or was killed.
        """
        deadline_s = time.monotonic() + limit_s
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return Ending(is_asked=False, process=RAYLET, status=0, reason="no process is left")
            name = self._watched.pop(pid, "")
            if name:
                code = os.waitstatus_to_exitcode(status)
                if name != SERVICES or code != 0:
                    return Ending(is_asked=_is_asked(name, code), process=name, status=code)
            if pid == 0:
                if time.monotonic() >= deadline_s:
                    return None
                time.sleep(_POLL_S)

    def is_head_reachable(self) -> bool:
        """See the protocol; the head's own node always may start."""
        if self._node.role is NodeRole.HEAD:
            return True
        host, _, port = self._node.head_address.rpartition(":")
        try:
            with socket.create_connection((host, int(port)), timeout=_CONNECT_LIMIT_S):
                return True
        except OSError:
            return False

    def is_member(self) -> bool | None:
        """See the protocol."""
        arguments = self._parts[RAYLET].argv if RAYLET in self._parts else ()
        ids = [part.partition("=")[2] for part in arguments if part.startswith("--node_id=")]
        return is_still_member(self._node, ids[0]) if ids else None


def start_services(
    plan: SupervisedPlan,
    data_dir: Path,
    popen: "Callable[..., subprocess.Popen[bytes]]" = subprocess.Popen,
) -> "subprocess.Popen[bytes] | None":
    """Start the services of the plan in the background, as part of its node; None when it names none.

    Safe to repeat: what runs already is left alone, and two at once keep out of each other's way.
    """
    if plan.services is None:
        return None
    with (data_dir / SERVICES_LOG_FILE).open("ab") as output:
        return popen(
            list(plan.services),
            env={**os.environ, MARKER: node_marker(plan.node.cluster_id, plan.node.machine)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def adopt_orphans() -> None:
    """Make this process the parent of descendants that lose theirs, to hear how they end; Linux only."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise ClusterError(f"Cannot watch over Ray's processes: {os.strerror(ctypes.get_errno())}.")


def end_orphans() -> None:
    """Kill what is left of a node whose raylet has died and that has become a child of this process; safe to repeat.

    Ray's agents and workers write their titles over the memory that would tell whose they are. An agent that cannot
    reach the control store any more may outlive its raylet for long, and would keep the ports of the next one.
    """
    orphans = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if child.name().startswith(_RAYS_TITLE):
                child.kill()
                orphans.append(child)
    psutil.wait_procs(orphans, timeout=_ORPHAN_LIMIT_S)


def _is_asked(name: str, code: int) -> bool:
    return name == RAYLET and code in (0, -signal.SIGTERM, 128 + signal.SIGTERM)


def _part_name(process: psutil.Process) -> str:
    name = process.name()
    if name in (RAYLET, CONTROL_STORE):
        return name
    return DASHBOARD if any(part.endswith("/dashboard/dashboard.py") for part in process.cmdline()) else ""


def _last_lines(text: str, count: int = 3) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip() and "network_util.cc" not in line]
    return " / ".join(lines[-count:]) or "no output"
