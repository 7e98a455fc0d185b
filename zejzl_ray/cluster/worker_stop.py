"""Telling the workers of a stop over ssh, all at once: `ray down` stops Ray on the head alone."""

import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from zejzl_ray.cluster.launcher_config import LauncherConfig, worker_stop_commands
from zejzl_ray.log import get_logger
from zejzl_ray.release.running import releases_directory

DATA_DIR: Final = "ZEJZL_DATA_DIR"
_SSH_LIMIT_S: Final = 40.0
_STOP_ATTEMPTS_S: Final = 120.0
_AT_ONCE: Final = 16

log = get_logger("zejzl.supervisor")


def stop_workers(launcher: LauncherConfig, data_dir: Path, settings: Mapping[str, str]) -> None:
    """Stop the nodes of all workers; one that cannot be reached keeps no other waiting, and is logged.

    Args:
        launcher: the way to them.
        data_dir: of this machine.
        settings: that its node was started with.
    """
    argvs = worker_stop_commands(launcher, stop_command(data_dir, settings))
    if argvs:
        with ThreadPoolExecutor(max_workers=min(len(argvs), _AT_ONCE)) as pool:
            list(pool.map(_try_to_stop, argvs))


def stop_command(data_dir: Path, settings: Mapping[str, str]) -> str:
    """Return the shell text that stops the node of a worker.

    Its paths are those of this machine; a worker that has changed its release has another one, and it may keep its data
    elsewhere.

    Args:
        data_dir: of this machine.
        settings: that its node was started with; a data directory among them counts for the workers too.
    """
    current = releases_directory(data_dir) / "current" / "venv" / "bin" / "python"
    own, other = shlex.quote(sys.executable), shlex.quote(str(current))
    text = f'p={own}; [ -x "$p" ] || p={other}; "$p" -m zejzl_ray.cli.main node stop'
    if DATA_DIR in settings:
        told = shlex.quote(settings[DATA_DIR])
        text = f"[ ! -d {told} ] || export {DATA_DIR}={told}; {text}"
    return text


def stop_worker(
    argv: Sequence[str],
    run: Callable[..., object] = subprocess.run,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Run one stop command, again for two minutes while it fails: the worker may be out of reach.

    Raises:
        SubprocessError, OSError: of the last attempt.
    """
    for attempt in Retrying(
        retry=retry_if_exception_type((subprocess.SubprocessError, OSError)),
        wait=wait_exponential(multiplier=1.0, max=10.0),
        stop=stop_after_delay(_STOP_ATTEMPTS_S),
        sleep=sleep,
        reraise=True,
    ):
        with attempt:
            run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SSH_LIMIT_S, check=True)


def _try_to_stop(argv: Sequence[str]) -> None:
    try:
        stop_worker(argv)
    except (subprocess.SubprocessError, OSError) as error:
        log.error("worker could not be stopped", address=argv[-2], reason=type(error).__name__)
