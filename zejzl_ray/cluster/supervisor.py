"""The process that owns the Ray node of one machine when several machines form the cluster.

It starts the node, knows how it ended, and cleans up after it. As the parent of everything that ``ray
start`` leaves behind it hears which of them ends first and how. So it knows when somebody asked Ray to stop,
as ``ray down`` does on the head, the only machine that hears of it; then this process tells the workers.
"""

import ctypes
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

import psutil
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from zejzl_ray.cluster.launcher_config import LauncherConfig, worker_stop_commands
from zejzl_ray.cluster.node_processes import find_node_processes, stop_node
from zejzl_ray.cluster.node_start import MARKER, node_marker, ray_start_command
from zejzl_ray.cluster.record import remove_record
from zejzl_ray.cluster.supervised_plan import SupervisedPlan
from zejzl_ray.cluster.supervisor_record import SupervisorRecord
from zejzl_ray.errors import ClusterError
from zejzl_ray.log import get_logger

_PR_SET_CHILD_SUBREAPER = 36
RAYLET: Final = "raylet"
SERVICES_LOG_FILE: Final = "services.log"
_WATCHED = (RAYLET, "gcs_server")
_START_LIMIT_S = 90.0
_SSH_LIMIT_S = 40.0
_STOP_ATTEMPTS_S = 120.0

log = get_logger("zejzl.supervisor")


@dataclass(frozen=True, slots=True)
class Ending:
    """How the node ended.

    Attributes:
        is_asked: Ray was told to stop, by ``ray stop`` or a signal to the supervisor.
        process: which of its processes ended first; empty when it was the supervisor that was told.
        status: exit status of that process; negative is the number of a signal.
    """

    is_asked: bool
    process: str
    status: int


class StopAsked(BaseException):
    """SIGTERM or SIGINT has arrived; not an ``Exception``, so that nobody takes it for a failure."""


class Supervisor:
    """Runs the Ray node of this machine until it ends.

    Args:
        plan: what to start, and whom to tell when it has been stopped.
        data_dir: where record and logs are kept.
    """

    def __init__(self, plan: SupervisedPlan, data_dir: Path) -> None:
        self._plan = plan
        self._node = plan.node
        self._data_dir = data_dir
        self._services: subprocess.Popen[bytes] | None = None
        self._record = SupervisorRecord(
            node=plan.node, pid=os.getpid(), started_at_s=psutil.Process().create_time(), state="starting"
        )

    def run(self) -> Ending:
        """Start the node and return when it has ended and nothing of it is left.

        Raises:
            ClusterError: the node did not start; nothing of it is left.
        """
        adopt_orphans()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _raise_stop_asked)
        self._write("starting")
        try:
            watched = self._start()
            self._write("up")
            self._services = start_services(self._plan, self._data_dir)
            ending = wait_for_end(watched)
        except StopAsked:
            ending = Ending(is_asked=True, process="", status=0)
        except ClusterError as error:
            self._clean_up()
            self._write("failed", str(error))
            raise
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        log.info(
            "node ended",
            machine=self._node.machine,
            is_asked=ending.is_asked,
            process=ending.process,
            status=ending.status,
        )
        self._clean_up()
        remove_record(self._data_dir)
        if ending.is_asked and self._plan.launcher is not None:
            self._stop_workers(self._plan.launcher)
        self._write(
            "stopped" if ending.is_asked else "failed",
            f"{ending.process} ended with {ending.status}" if ending.process else "",
        )
        return ending

    def _start(self) -> dict[int, str]:
        node = self._node
        stop_node(node.cluster_id, node.machine)
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
        watched = {
            process.pid: process.name()
            for process in find_node_processes(node.cluster_id, node.machine)
            if process.name() in _WATCHED
        }
        if RAYLET not in watched.values():
            raise ClusterError(f"Ray's raylet ended on {node.machine} right after its start.")
        return watched

    def _clean_up(self) -> None:
        report = stop_node(self._node.cluster_id, self._node.machine)
        if report.left:
            log.error("processes would not end", pids=report.left)
        for directory in self._plan.leftovers:
            shutil.rmtree(directory, ignore_errors=True)

    def _stop_workers(self, launcher: LauncherConfig) -> None:
        command = f"{shlex.quote(sys.executable)} -m zejzl_ray.cli.main node stop"
        for argv in worker_stop_commands(launcher, command):
            try:
                stop_worker(argv)
            except (subprocess.SubprocessError, OSError) as error:
                log.error("worker could not be stopped", address=argv[-2], reason=type(error).__name__)

    def _write(self, state: str, note: str = "") -> None:
        self._record = SupervisorRecord.model_validate(
            self._record.model_dump() | {"state": state, "note": note}
        )
        self._record.write(self._data_dir)


def start_services(plan: SupervisedPlan, data_dir: Path) -> "subprocess.Popen[bytes] | None":
    """Start the services of the plan in the background, as part of its node; None when it names none.

    Safe to repeat: what runs already is left alone, and two at once keep out of each other's way.
    """
    if plan.services is None:
        return None
    with (data_dir / SERVICES_LOG_FILE).open("ab") as output:
        return subprocess.Popen(
            list(plan.services),
            env={**os.environ, MARKER: node_marker(plan.node.cluster_id, plan.node.machine)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def stop_worker(
    argv: Sequence[str],
    run: Callable[..., object] = subprocess.run,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Run one stop command, again for two minutes while it fails: the worker may be out of reach.

    Raises:
        SubprocessError, OSError: of the last attempt.
    """
    for attempt in Retrying(
        retry=retry_if_exception_type((subprocess.SubprocessError, OSError)),
        wait=wait_exponential(multiplier=1.0, max=10.0),
        stop=stop_after_delay(_STOP_ATTEMPTS_S),
        sleep=sleep,
        reraise=True,
    ):
        with attempt:
            run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SSH_LIMIT_S, check=True)


def adopt_orphans() -> None:
    """Make this process the parent of descendants that lose theirs, to hear how they end; Linux only."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise ClusterError(f"Cannot watch over Ray's processes: {os.strerror(ctypes.get_errno())}.")


def wait_for_end(watched: dict[int, str]) -> Ending:
    """Wait until the first of the watched children ends.

    Who ends first tells why: ``ray stop`` ends the raylet before everything else, and lets it exit in order;
    a control store that ends first has crashed or was killed.

    Args:
        watched: name by process id. Other children are reaped and ignored.
    """
    while True:
        try:
            pid, status = os.waitpid(-1, 0)
        except ChildProcessError:
            return Ending(is_asked=False, process="", status=0)
        if pid in watched:
            code = os.waitstatus_to_exitcode(status)
            is_asked = watched[pid] == RAYLET and code in (0, -signal.SIGTERM, 128 + signal.SIGTERM)
            return Ending(is_asked=is_asked, process=watched[pid], status=code)


def _raise_stop_asked(number: int, frame: FrameType | None) -> None:
    raise StopAsked


def _last_lines(text: str, count: int = 3) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip() and "network_util.cc" not in line]
    return " / ".join(lines[-count:]) or "no output"
