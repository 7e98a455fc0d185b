"""A program that needs video memory, run on the machine that has it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import ray

from zejzl_ray.errors import InvalidInput

# Becomes the program, after it has told the kernel (prctl PR_SET_PDEATHSIG, SIGKILL) to end it with its parent. A small
# program and not a hook between fork and exec: the actor's process has threads. Linux only.
_LAUNCHER: Final = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the actor has gone already")
os.execv(sys.argv[2], sys.argv[3:])
"""


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """The program's process; ``exit_code`` is None while it runs, negative is the number of a signal."""

    pid: int
    exit_code: int | None


class PlacedProcess:
    """An actor that runs one program for as long as it lives; start it with ``VramPlacer.start``.

    What the actor asked of Ray is what the program may use: the program sees its card in ``CUDA_VISIBLE_DEVICES``. It
    ends with the actor, however that ends. It is not started again when it ends by itself.

    Args:
        argv: program and arguments; no shell is involved.
        environment: laid over the actor's own.

    Raises:
        InvalidInput: the program cannot be started.
    """

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        if not argv:
            raise InvalidInput("A process needs a program.", "Give the program and its arguments as a list.")
        own = {**os.environ, **(environment or {})}
        program = shutil.which(argv[0], path=own.get("PATH"))
        if program is None:
            raise InvalidInput(
                f"There is no program {argv[0]!r} that may be run.", "Is it there on every machine?"
            )
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", _LAUNCHER, str(os.getpid()), program, *argv],
            env=own,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    @ray.method
    def status(self) -> ProcessStatus:
        """Return the process and whether it still runs."""
        return self._status()

    @ray.method
    def stop(self, grace_s: float = 10.0) -> ProcessStatus:
        """Ask the program to end, and end it after ``grace_s``; safe to repeat."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(grace_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        return self._status()

    def _status(self) -> ProcessStatus:
        return ProcessStatus(self._process.pid, self._process.poll())
