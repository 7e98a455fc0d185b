"""Asks a detached actor of a bare Ray cluster where it is, five times a second. Runs on a test host.

Run: ``python -m benchmarks.bare_ray_probe FILE HOST:PORT``. The actor's home is the machine pc2, its fallback mainpc.
Writes one JSON line an answer: when it was asked, when it came, and from where.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any, Final

import ray

_PERIOD_S: Final = 0.2
_LIMIT_S: Final = 1.5


class Where:
    """Says on which machine it runs."""

    def machine(self) -> str:
        """Return the name of the machine."""
        return str(ray.get_runtime_context().get_node_labels()["machine"])


def ask_for_ever(path: Path, address: str) -> None:
    """Ask until the process is killed."""
    ray.init(address=address, log_to_driver=False)
    actor: Any = (
        ray.remote(Where)
        .options(
            name="where",
            lifetime="detached",
            max_restarts=-1,
            num_cpus=0.1,
            label_selector={"machine": "pc2"},
            fallback_strategy=[{"label_selector": {"machine": "mainpc"}}],
        )
        .remote()
    )
    with path.open("a", buffering=1) as file:
        while True:
            asked_s = time.monotonic()
            try:
                machine = ray.get(actor.machine.remote(), timeout=_LIMIT_S)
                line = {"asked_s": asked_s, "answered_s": time.monotonic(), "machine": machine}
                file.write(json.dumps(line) + "\n")
            except (ray.exceptions.RayError, TimeoutError):
                pass
            time.sleep(_PERIOD_S)


if __name__ == "__main__":
    ask_for_ever(Path(sys.argv[1]), sys.argv[2])
