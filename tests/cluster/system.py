"""A whole system for tests: real ``zejzl up`` in a data directory of its own, on free ports, with simulated cards."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zejzl_ray.cluster.ports import free_ports

PORTS = (
    "ZEJZL_HTTP_PORT",
    "ZEJZL_RESOURCE_MANAGER_PORT",
    "ZEJZL_OBSERVABILITY_PORT",
    "ZEJZL_ERROR_BUS_PORT",
    "ZEJZL_SECURITY_PORT",
    "ZEJZL_DASHBOARD_PORT",
)
SIMULATED_GPUS = "mainpc=RTX 4090:24564;pc2=RTX 3060:12288"
UP_LIMIT_S = 180


def new_data_dir() -> Path:
    """Return a new directory with a short path, as Ray's sockets need."""
    return Path(tempfile.mkdtemp(prefix="zjt-", dir="/tmp"))


def system_environment(data_dir: Path, **settings: str) -> dict[str, str]:
    """Return the environment of one system: nothing of the caller's own settings, free ports."""
    own = {key: value for key, value in os.environ.items() if not key.startswith(("ZEJZL_", "RAY_"))}
    ports = dict(zip(PORTS, map(str, free_ports(len(PORTS))), strict=True))
    given = {
        "ZEJZL_DATA_DIR": str(data_dir),
        "ZEJZL_SIMULATED_GPUS": SIMULATED_GPUS,
        "ZEJZL_KEY_PUBLISH_AHEAD_S": "3",  # nobody waits a minute for a test
    }
    return own | ports | given | settings


@dataclass
class System:
    """One running system and how to reach it."""

    data_dir: Path
    environment: dict[str, str]
    info: dict[str, Any] = field(default_factory=dict)

    def zejzl(self, *arguments: str, limit_s: float = UP_LIMIT_S) -> subprocess.CompletedProcess[str]:
        """Run the command line against this system."""
        return run_zejzl(arguments, self.environment, limit_s)

    def up(self) -> None:
        done = self.zejzl("up", "--json")
        assert done.returncode == 0, done.stderr
        self.info = json.loads(done.stdout)

    def down(self) -> None:
        done = self.zejzl("down")
        assert done.returncode == 0, done.stderr
        shutil.rmtree(self.data_dir, ignore_errors=True)

    @property
    def token(self) -> str:
        return (self.data_dir / "token").read_text().strip()

    @property
    def authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


def run_zejzl(
    arguments: Sequence[str], environment: dict[str, str], limit_s: float = UP_LIMIT_S
) -> subprocess.CompletedProcess[str]:
    """Run ``zejzl`` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "zejzl_ray.cli.main", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=limit_s,
        stdin=subprocess.DEVNULL,
    )
