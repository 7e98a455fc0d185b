"""Run a program with a time limit, and never leave it behind."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


class CommandFailed(Exception):
    """A program ended with an error or did not end in time; the text holds what it wrote."""


@dataclass(frozen=True, slots=True)
class Finished:
    """What a program left: exit status, and its two outputs as text."""

    status: int
    output: str
    errors: str


def run_command(
    argv: Sequence[str],
    *,
    timeout_s: float,
    is_checked: bool = True,
    environment: Mapping[str, str] | None = None,
    given: str | None = None,
) -> Finished:
    """Run a program and wait for it.

    Args:
        argv: program and arguments.
        timeout_s: after that the program is killed.
        is_checked: raise when the exit status is not zero.
        environment: the whole environment; None keeps the caller's.
        given: text for its standard input, which is otherwise empty.

    Raises:
        CommandFailed: it failed or took too long.
    """
    with subprocess.Popen(
        argv,
        stdin=subprocess.PIPE if given is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=environment,
        start_new_session=True,
    ) as process:
        try:
            output, errors = process.communicate(given, timeout=timeout_s)
        except subprocess.TimeoutExpired:
            # what it has started too, which would keep the pipes open
            os.killpg(process.pid, signal.SIGKILL)
            output, errors = process.communicate(timeout=5)
            raise CommandFailed(
                f"{' '.join(argv)}: not done after {timeout_s:g} s\n{output[-4000:]}\n{errors[-4000:]}"
            ) from None
    if is_checked and process.returncode != 0:
        raise CommandFailed(
            f"{' '.join(argv)}: exit status {process.returncode}\n{output[-4000:]}\n{errors[-4000:]}"
        )
    return Finished(process.returncode, output, errors)
