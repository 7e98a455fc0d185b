"""Starts and stops the Ray nodes of a cluster on one machine, and touches nobody else's."""

import fcntl
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from zejzl_ray.cluster.local_plan import LocalPlan, cluster_id
from zejzl_ray.cluster.node_processes import StopReport, is_node_running, stop_node
from zejzl_ray.cluster.node_start import NodeStart, ray_start_command
from zejzl_ray.cluster.record import ClusterRecord, read_record, remove_record
from zejzl_ray.errors import ClusterError

NODE_START_TIMEOUT_S = 90.0
_LOG_TAIL_CHARS = 2000
_PROBE_TIMEOUT_S = 2.0

Report = Callable[[str], None]


@contextmanager
def exclusive(data_dir: Path) -> Iterator[None]:
    """Keep a second `up` or `down` of the same data directory away.

    Raises:
        ClusterError: one is running, or the directory cannot be used.
    """
    try:
        descriptor = os.open(data_dir / "cluster.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ClusterError(f"Cannot write into {data_dir}: {error.strerror}.") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ClusterError(
                f"Another `zejzl up` or `zejzl down` works on {data_dir}.", "Wait until it is done."
            ) from None
        yield
    finally:
        os.close(descriptor)


def running_cluster(data_dir: Path) -> ClusterRecord | None:
    """Return the record of this data directory's cluster if all its nodes live and its control store answers.

    Raises:
        ClusterError: there is a record that cannot be read.
    """
    record = read_record(data_dir)
    if record is None:
        return None
    if not is_control_store_there(record):
        return None
    alive = all(is_node_running(record.cluster_id, machine) for machine in record.machines)
    return record if alive else None


def is_control_store_there(record: ClusterRecord) -> bool:
    """Return whether something listens where the cluster's control store does."""
    host, _, port = record.address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=_PROBE_TIMEOUT_S).close()
    except (OSError, ValueError):
        return False
    return True


def start_head(
    plan: LocalPlan,
    data_dir: Path,
    extra_environment: Mapping[str, str],
    report: Report,
    *,
    timeout_s: float = NODE_START_TIMEOUT_S,
) -> None:
    """Start the head node; the other nodes can join when it returns. The record is on disk before anything starts.

    Args:
        plan: what to start.
        data_dir: where record and logs lie.
        extra_environment: laid over this process's own.
        report: told of the node when it is up.
        timeout_s: how long `ray start` may take.

    Raises:
        ClusterError: it did not start; its last output is in the message. No process is left; Ray's own logs are.
    """
    plan.record.write(data_dir)
    _start(plan.nodes[0], data_dir, extra_environment, report, timeout_s)


def start_workers(
    plan: LocalPlan,
    data_dir: Path,
    extra_environment: Mapping[str, str],
    report: Report,
    *,
    timeout_s: float = NODE_START_TIMEOUT_S,
) -> None:
    """Start the other nodes, one after the other; arguments and errors as ``start_head``.

    What runs on the head node need not wait for it. A node that fails leaves the others running.
    """
    for node in plan.nodes[1:]:
        _start(node, data_dir, extra_environment, report, timeout_s)


def _start(
    node: NodeStart, data_dir: Path, extra_environment: Mapping[str, str], report: Report, timeout_s: float
) -> None:
    command = ray_start_command(node)
    # A file, not a pipe: the processes that stay behind keep it open, and a pipe would keep us waiting for them.
    log_path = data_dir / f"ray_start_{node.machine}.log"
    with log_path.open("wb") as log:
        try:
            done = subprocess.run(
                command.argv,
                env={**os.environ, **extra_environment, **command.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=timeout_s,
                start_new_session=True,
                check=False,
            )
            failure = f"`ray start` ended with {done.returncode}" if done.returncode else ""
        except OSError as error:
            raise ClusterError(
                f"Cannot run {command.argv[0]}: {error.strerror}.",
                "Install the project with its dependencies.",
            ) from None
        except subprocess.TimeoutExpired:
            failure = f"`ray start` did not end within {timeout_s:g} s"
    if failure:
        stop_node(node.cluster_id, node.machine)
        tail = log_path.read_text(errors="replace")[-_LOG_TAIL_CHARS:].strip()
        raise ClusterError(
            f"Ray node {node.machine} did not start: {failure}.\n{tail}", f"The whole log: {log_path}"
        )
    report(f"Ray node {node.machine}: {node.cpus} CPU, {node.vram_mib} MiB VRAM")


def stop_all(data_dir: Path) -> StopReport:
    """End every process of this data directory's cluster, remove its sockets and forget it; safe to repeat.

    Raises:
        ClusterError: a process could not be ended; names it.
    """
    identity = cluster_id(data_dir)
    record = read_record(data_dir)
    done = stop_node(identity)
    if done.left:
        raise ClusterError(f"Processes {', '.join(map(str, done.left))} did not end.", "End them by hand.")
    if record is not None:
        shutil.rmtree(record.temp_dir, ignore_errors=True)
        with suppress(OSError):  # only when nothing else is in it
            record.temp_dir.parent.rmdir()
    remove_record(data_dir)
    return done
