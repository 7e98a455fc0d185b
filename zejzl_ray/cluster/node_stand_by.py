"""Waits beside the supervisor that `zejzl node start` has left in the background, and takes over when it is gone."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from zejzl_ray.cluster.node_intent import read_wanted
from zejzl_ray.cluster.node_lock import NodeLock, take_node_lock
from zejzl_ray.cluster.supervisor_record import read_supervisor_record
from zejzl_ray.log import get_logger

POLL_S: Final = 1.0
GRACE_S: Final = 15.0
"""A supervisor of a release without the lock writes down that it is there only seconds after it is wanted."""

log = get_logger("zejzl.supervisor")


def wait_for_turn(
    data_dir: Path,
    sleep: Callable[[float], None] = time.sleep,
    now_s: Callable[[], float] = time.monotonic,
) -> NodeLock:
    """Return the lock of this machine's node as soon as one shall run here and nobody sees to it.

    At once where nobody does from the start, as after a reboot; otherwise when nobody has for ``GRACE_S``.

    Raises:
        ClusterError: what is written down cannot be read or understood.
    """
    lock = _unattended(data_dir)
    if lock is not None:
        return lock
    log.info("standing by")
    since_s: float | None = None
    while True:
        sleep(POLL_S)
        lock = _unattended(data_dir)
        if lock is None:
            since_s = None
            continue
        since_s = now_s() if since_s is None else since_s
        if now_s() - since_s >= GRACE_S:
            return lock
        lock.close()


def _unattended(data_dir: Path) -> NodeLock | None:
    if read_wanted(data_dir) is None:
        return None
    lock = take_node_lock(data_dir)
    if lock is None:
        return None
    with ExitStack() as stack:
        stack.enter_context(lock)
        # Looked at again with the lock in hand: until then somebody could start or stop it.
        record = read_supervisor_record(data_dir)
        if read_wanted(data_dir) is None or (record is not None and record.is_alive):
            return None
        stack.pop_all()
    return lock
