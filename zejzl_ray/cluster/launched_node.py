"""The node of this machine in a cluster of several: plan it, start its supervisor, stop it.

``ray up`` runs the start command again whenever it likes, so a start changes nothing while a node of the
same plan is up, and replaces one of another plan.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

import psutil

from zejzl_ray.cluster.gcs_store import gcs_redis_address
from zejzl_ray.cluster.local_plan import RAY_TOKEN_FILE, cluster_id, ray_temp_dir
from zejzl_ray.cluster.monitoring import monitoring_of
from zejzl_ray.cluster.node_intent import (
    give_up_intent,
    intended,
    read_intent,
    read_wanted,
    with_namespace,
)
from zejzl_ray.cluster.node_lock import VARIABLE, NodeLock, take_node_lock
from zejzl_ray.cluster.node_ports import node_ports, require_free_ports
from zejzl_ray.cluster.node_processes import stop_node
from zejzl_ray.cluster.node_resources import node_resources
from zejzl_ray.cluster.node_start import NodeRole, NodeStart
from zejzl_ray.cluster.secret_file import make_private_directory, read_token
from zejzl_ray.cluster.supervised_plan import SupervisedPlan
from zejzl_ray.cluster.supervisor_record import (
    ENDING,
    SupervisorRecord,
    read_supervisor_record,
    remove_supervisor_record,
)
from zejzl_ray.errors import ClusterError
from zejzl_ray.settings import Settings
from zejzl_ray.tls.credentials import TlsFiles, load_credentials, tls_directory
from zejzl_ray.tls.policy import ray_credentials

LOG_FILE: Final = "node.log"
_START_LIMIT_S: Final = 100.0
_HEAD_AWAY_S: Final = 7 * 86_400  # a machine whose head is off for an evening or a week goes on serving
_STOP_LIMIT_S: Final = 30.0
_POLL_S: Final = 0.1
_TAIL_CHARS: Final = 1500


def plan_node(
    settings: Settings,
    *,
    machine: str,
    role: NodeRole,
    head_address: str,
    node_ip: str,
    cpus: int | None = None,
    autoscaling_config: Path | None = None,
) -> NodeStart:
    """Return what to start on this machine; looks at the cards once, starts nothing.

    Args:
        settings: as read from the environment of this machine.
        machine: its name.
        role: head or worker.
        head_address: host:port of the head.
        node_ip: address of this machine, as the others reach it.
        cpus: None declares all that the machine has.
        autoscaling_config: what `ray up` gave to the head.

    Raises:
        Unauthenticated: the machine has no Ray token.
        SettingsInvalid: cards or memory are set in a way that is not understood.
        ClusterError: the machine has no certificate that the others would accept.
    """
    token_path = settings.data_path / RAY_TOKEN_FILE
    read_token(token_path)
    credentials = ray_credentials(settings, machine, node_ip, time.time())
    identity = cluster_id(settings.data_path)
    redis_address = gcs_redis_address(settings)
    is_kept = role is NodeRole.HEAD and redis_address is not None
    offered = node_resources(settings, machine, cpus)
    return NodeStart(
        cluster_id=identity,
        machine=machine,
        role=role,
        head_address=head_address,
        node_ip=node_ip,
        temp_dir=ray_temp_dir(identity),
        token_path=token_path,
        tls=credentials.files if credentials is not None else None,
        cpus=offered.cpus,
        vram_mib=offered.vram_mib,
        cards=offered.cards,
        tags=offered.tags,
        object_store_mib=offered.object_store_mib,
        autoscaling_config=autoscaling_config,
        redis_address=redis_address if is_kept else None,
        redis_tls=_redis_credentials(settings, machine) if is_kept else None,
        gcs_reconnect_timeout_s=_HEAD_AWAY_S,
        ports=node_ports(settings),
        monitoring=monitoring_of(settings),
        ray_executable=str(Path(sys.executable).with_name("ray")),
    )


def _redis_credentials(settings: Settings, machine: str) -> TlsFiles:
    return load_credentials(tls_directory(settings.data_path), machine, time.time()).files


def start_supervised(
    plan: SupervisedPlan,
    data_dir: Path,
    supervisor: Sequence[str],
    other_ports: Mapping[str, int] | None = None,
) -> Literal["started", "already up"]:
    """Write down what shall run, start its supervisor and wait until the node is up; safe to repeat.

    A supervisor that runs the same plan is waited for, and never ended; one of another plan is replaced.

    Args:
        plan: what shall run; the supervisor reads it from the data directory.
        data_dir: where intent, record and log lie; made when missing.
        supervisor: command of the supervisor; it stays behind, and is handed the lock of the node.
        other_ports: environment variable -> port, of what runs beside Ray on loopback; must be free too.

    Raises:
        PortInUse: something else listens where the node will; nothing was started.
        ClusterError: the node did not come up in 100 s; nothing of it is left, unless it ran before already.
    """
    node = plan.node
    make_private_directory(data_dir)
    make_private_directory(node.temp_dir.parent)
    before = read_intent(data_dir)
    deadline_s = time.monotonic() + _START_LIMIT_S
    lock: NodeLock | None = None
    while lock is None:
        running = _running(data_dir)
        if running is None:
            lock = _take_unattended(data_dir, deadline_s)
        elif running.state in ENDING and _is_gone(running):
            before = read_intent(data_dir)  # it may have been asked to stop
        elif _is_meant(running, node, data_dir):
            _wait_until_up(data_dir, running.pid, None)
            return "already up"
        else:
            require_free_ports(node, instead_of=running.node)  # before what runs is stopped for nothing
            lock = _stop(data_dir)
    with lock:
        remove_supervisor_record(data_dir)
        require_free_ports(node, other_ports)
        placed = plan.model_copy(update={"node": with_namespace(plan.node, before)})
        intended(placed, before).write(data_dir)
        with (data_dir / LOG_FILE).open("ab") as log:
            process = subprocess.Popen(
                list(supervisor),
                env={**os.environ, VARIABLE: str(lock.descriptor)},
                pass_fds=(lock.descriptor,),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
    try:
        _wait_until_up(data_dir, process.pid, process)
    except ClusterError:
        give_up_intent(data_dir)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_LIMIT_S)
        raise
    process.returncode = 0  # it stays behind; without this the interpreter warns that it still runs
    return "started"


def require_no_supervised_node(data_dir: Path) -> None:
    """Keep the commands for a cluster on one machine away from a node that belongs to several.

    Raises:
        ClusterError: the node of this data directory is one of those; names the commands for it.
    """
    record = read_supervisor_record(data_dir)
    if record is None or not record.is_alive:
        return
    role = "the head" if record.node.role is NodeRole.HEAD else "a worker"
    raise ClusterError(
        f"This machine is {record.node.machine}, {role} of a cluster of several machines.",
        "Stop the cluster with `ray down -y cluster.yaml` where it was started, or this node alone with "
        "`zejzl node stop`.",
    )


def stop_supervised(data_dir: Path) -> SupervisorRecord | None:
    """End the supervisor and everything of its node, on purpose: nothing starts it again by itself; safe to repeat.

    Returns:
        The record of the node; None when there was none.

    Raises:
        ClusterError: something did not end in 30 s; names it.
    """
    make_private_directory(data_dir)
    record = read_supervisor_record(data_dir)
    _stop(data_dir).close()
    return record


def _stop(data_dir: Path) -> NodeLock:
    """Do what ``stop_supervised`` does; the lock that is returned keeps others from starting anything."""
    give_up_intent(data_dir)
    lock: NodeLock | None = None
    deadline_s = time.monotonic() + _STOP_LIMIT_S
    while lock is None:
        running = _running(data_dir)
        if running is None:
            lock = _take_unattended(data_dir, deadline_s)
        elif not _is_gone(running, signal.SIGTERM) and not _is_gone(running, signal.SIGKILL):
            raise ClusterError(f"The supervisor {running.pid} does not end.", "End it by hand.")
    with contextlib.ExitStack() as stack:
        stack.enter_context(lock)
        give_up_intent(data_dir)  # again: who was about to change its role has written it down meanwhile
        report = stop_node(cluster_id(data_dir))
        if report.left:
            raise ClusterError(
                f"Processes {', '.join(map(str, report.left))} did not end.", "End them by hand."
            )
        remove_supervisor_record(data_dir)
        stack.pop_all()
    return lock


def _running(data_dir: Path) -> SupervisorRecord | None:
    record = read_supervisor_record(data_dir)
    return record if record is not None and record.is_alive else None


def _take_unattended(data_dir: Path, deadline_s: float) -> NodeLock | None:
    """Take the lock; None where somebody has it, who says a moment later who he is, or has just said so.

    Raises:
        ClusterError: it is past the deadline.
    """
    lock = take_node_lock(data_dir)
    if lock is None:
        if time.monotonic() > deadline_s:
            raise ClusterError(
                f"Somebody starts or stops the node of {data_dir}, and does not come to an end.",
                "Wait for that command, or end it; then repeat.",
            )
        time.sleep(_POLL_S)
    elif _running(data_dir) is not None:  # of a release that has no lock
        lock.close()
        return None
    return lock


def _is_gone(running: SupervisorRecord, number: int | None = None) -> bool:
    """Wait until a supervisor has ended, after a signal if one is given; False after 30 s."""
    try:
        process = psutil.Process(running.pid)
        if number is not None:
            process.send_signal(number)
        return not psutil.wait_procs([process], timeout=_STOP_LIMIT_S)[1]
    except psutil.NoSuchProcess:
        return True


def _is_meant(running: SupervisorRecord, node: NodeStart, data_dir: Path) -> bool:
    is_same = running.node.fingerprint == node.fingerprint
    return is_same and running.state not in ENDING and read_wanted(data_dir) is not None


def _wait_until_up(data_dir: Path, pid: int, process: "subprocess.Popen[bytes] | None") -> None:
    deadline_s = time.monotonic() + _START_LIMIT_S
    record = None
    while time.monotonic() < deadline_s:
        record = read_supervisor_record(data_dir)
        if record is not None and record.pid == pid and record.state == "up":
            return
        if record is not None and record.pid == pid and record.state == "failed":
            raise ClusterError(
                record.note or "The node did not start.", f"The whole log: {data_dir / LOG_FILE}"
            )
        is_gone = process.poll() is not None if process is not None else not psutil.pid_exists(pid)
        if is_gone:
            raise ClusterError(f"The node's supervisor ended.\n{_tail(data_dir / LOG_FILE)}")
        time.sleep(_POLL_S)
    if process is None:
        state = (
            f"{record.state}{f' ({record.note})' if record.note else ''}" if record is not None else "gone"
        )
        raise ClusterError(
            f"The node was not up within {_START_LIMIT_S:g} s: its supervisor, which ran before, is {state} and "
            "goes on trying.",
            "`zejzl node state` tells how it is, `zejzl node stop` ends it.",
        )
    stop_supervised(data_dir)
    raise ClusterError(
        f"The node was not up within {_START_LIMIT_S:g} s.", f"The whole log: {data_dir / LOG_FILE}"
    )


def _tail(path: Path) -> str:
    try:
        return path.read_text(errors="replace")[-_TAIL_CHARS:].strip()
    except OSError:
        return ""
