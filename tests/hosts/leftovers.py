"""Names that belong to one run of the tests, and what an earlier run that was killed has left behind."""

import contextlib
import os
import re
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.hosts.commands import CommandFailed, run_command

BASE = Path("/var/tmp")
_NAME = re.compile(r"^zj(?P<pid>\d+)x")
_NAMESPACES = Path("/run/netns")


def own_prefix() -> str:
    """Return the start of every name of this run: its process id tells whether the run is still alive."""
    return f"zj{os.getpid()}x"


@contextmanager
def names_of_this_run() -> Iterator[str]:
    """Give the start of every name of this run; what dead runs left goes first, and what this one made at the end."""
    clean_leftovers()
    name = own_prefix()
    try:
        yield name
    finally:
        for path in BASE.glob(f"{name}*"):
            shutil.rmtree(path, ignore_errors=True)


def clean_leftovers() -> list[str]:
    """Remove what runs left behind whose process is dead, and nothing else; return the names."""
    names = {path.name for folder in (_NAMESPACES, BASE) if folder.is_dir() for path in folder.iterdir()}
    dead = sorted(name for name in names if _is_dead(name))
    for name in dead:
        kill_all_in_namespace(name)
    for name in dead:
        with contextlib.suppress(CommandFailed):
            if (_NAMESPACES / name).exists():
                run_command(("ip", "netns", "del", name), timeout_s=10)
        shutil.rmtree(BASE / name, ignore_errors=True)
    return dead


def kill_all_in_namespace(name: str) -> None:
    """Kill every process in the named network namespace; safe to repeat."""
    if not (_NAMESPACES / name).exists():
        return
    found = run_command(("ip", "netns", "pids", name), timeout_s=10, is_checked=False)
    for pid in found.output.split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


def _is_dead(name: str) -> bool:
    match = _NAME.match(name)
    if match is None:
        return False
    try:
        os.kill(int(match["pid"]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
