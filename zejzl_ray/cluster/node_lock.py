"""One supervisor a data directory: a lock of the system, which its process holds for as long as it lives.

Whoever starts or ends a node holds it while doing so, and a start hands it to the supervisor that it leaves behind, so
that nobody comes in between. It goes with the process, however that ends; the file itself says nothing.
"""

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

from zejzl_ray.errors import ClusterError

FILE_NAME: Final = "node.lock"
VARIABLE: Final = "ZEJZL_NODE_LOCK_DESCRIPTOR"
"""Tells a supervisor which open file the lock is that it was handed."""

_PATIENCE_S: Final = 2.0  # who only looks whether it is free holds it for a moment
_POLL_S: Final = 0.05


class NodeLock:
    """The lock in hand; a context that lets go of it. Programs that are started do not get it by themselves.

    Args:
        descriptor: of the open file.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        os.set_inheritable(descriptor, False)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of it."""
        self.close()

    def close(self) -> None:
        """Let go of it, unless it was handed to another process, which keeps it; safe to repeat."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def take_node_lock(data_dir: Path) -> NodeLock | None:
    """Take the lock; None at once while somebody else has it.

    Raises:
        ClusterError: the directory cannot be used.
    """
    path = data_dir / FILE_NAME
    try:
        lock = NodeLock(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise ClusterError(f"Cannot use {path}: {error.strerror}.") from None
    if _is_locked_now(lock.descriptor) and _is_file(lock.descriptor, path):
        return lock
    lock.close()
    return None


def inherit_node_lock(data_dir: Path, sleep: Callable[[float], None] = time.sleep) -> NodeLock:
    """Return the lock that this process was handed when it was started; otherwise take it.

    Raises:
        ClusterError: somebody else has it, so that this process may touch nothing.
    """
    path = data_dir / FILE_NAME
    handed = os.environ.pop(VARIABLE, "")
    if handed.isdigit() and _is_file(int(handed), path) and _is_locked_now(int(handed)):
        return NodeLock(int(handed))
    for _ in range(round(_PATIENCE_S / _POLL_S)):
        if (lock := take_node_lock(data_dir)) is not None:
            return lock
        sleep(_POLL_S)
    raise ClusterError(
        f"Another supervisor sees to the node of {data_dir}; this one has touched nothing.",
        "`zejzl node state` tells how it is, `zejzl node stop` ends it.",
    )


def _is_locked_now(descriptor: int) -> bool:
    """Lock an open file; repeated by its holder, this changes nothing."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_file(descriptor: int, path: Path) -> bool:
    """Return whether an open file is still the one of that name: a purge may have removed it."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False
