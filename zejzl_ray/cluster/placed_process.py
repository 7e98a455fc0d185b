"""A program that needs video memory, run on the machine that has it."""

import ctypes
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import ray

from zejzl_ray.errors import InvalidInput

_PR_SET_PDEATHSIG: Final = 1
# Loaded before the fork: between fork and exec nothing may be imported.
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


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
        try:
            self._process = subprocess.Popen(
                list(argv),
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=_end_with_parent,  # noqa: PLW1509  one system call, loaded beforehand
            )
        except OSError as error:
            raise InvalidInput(
                f"The program {argv[0]!r} cannot be started: {error.strerror}.",
                "Is it there on every machine?",
            ) from None

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


def _end_with_parent() -> None:
    """Let the kernel end this process when the actor's process is gone, also when that was killed; Linux only."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
