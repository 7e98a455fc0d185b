"""Coverage plugin: saves what Ray's workers have run, every half second.

Ray ends its workers without letting Python finish, so coverage's own saving at exit never happens there;
what a worker did in its last half second is not counted. In every other process this does nothing.
"""

import contextlib
import sys
import threading
import time
from typing import Any

import coverage

_PERIOD_S = 0.5


def coverage_init(registry: Any, options: dict[str, str]) -> None:
    """Start to save, when this process is a Ray worker; coverage calls this wherever it measures."""
    if any(argument.endswith("default_worker.py") for argument in sys.orig_argv):
        threading.Thread(target=_save_for_ever, name="worker-coverage", daemon=True).start()


def _save_for_ever() -> None:
    while True:
        time.sleep(_PERIOD_S)
        current = coverage.Coverage.current()
        if current is not None:
            with contextlib.suppress(Exception):  # a full disk must not end the worker that is being tested
                current.save()
