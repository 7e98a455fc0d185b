"""Waits beside the supervisor that `zejzl node start` has left in the background, and takes over when it is gone."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from zejzl_ray.cluster.node_intent import NodeIntent, read_intent
from zejzl_ray.cluster.supervisor_record import read_supervisor_record
from zejzl_ray.log import get_logger

POLL_S: Final = 1.0
GRACE_S: Final = 15.0
"""A start writes down what it wants some seconds before its supervisor writes down that it is there."""

log = get_logger("zejzl.supervisor")


def wait_for_intent(
    data_dir: Path,
    sleep: Callable[[float], None] = time.sleep,
    now_s: Callable[[], float] = time.monotonic,
) -> NodeIntent:
    """Return what shall run on this machine as soon as nobody sees to it.

    At once where nobody does from the start, as after a reboot; otherwise when nobody has for ``GRACE_S``.
    """
    intent = _unattended(data_dir)
    if intent is not None:
        return intent
    log.info("standing by")
    since_s: float | None = None
    while True:
        sleep(POLL_S)
        intent = _unattended(data_dir)
        if intent is None:
            since_s = None
        elif since_s is None:
            since_s = now_s()
        elif now_s() - since_s >= GRACE_S:
            return intent


def _unattended(data_dir: Path) -> NodeIntent | None:
    intent = read_intent(data_dir)
    if intent is None or not intent.is_wanted:
        return None
    record = read_supervisor_record(data_dir)
    return None if record is not None and record.is_alive else intent
