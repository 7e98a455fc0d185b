"""Asks the head whether it still counts a Ray node as a member: a program of its own, since it needs Ray.

Run: ``python -m zejzl_ray.cluster.membership HOST:PORT NODE_ID``, with the environment of a client of the cluster.
Exit status 0: it does, 3: it has given the node up, anything else: it did not answer.
"""

import os
import subprocess
import sys
from typing import Final

from zejzl_ray.cluster.node_start import NodeStart, client_environment

_GIVEN_UP: Final = 3
_ANSWER_LIMIT_S: Final = 5
_LIMIT_S: Final = 15.0


def is_still_member(node: NodeStart, node_id: str) -> bool | None:
    """Return whether the head counts the node as alive; None when it did not say within 15 s.

    Args:
        node: of this machine.
        node_id: Ray's id of it, hexadecimal.
    """
    try:
        done = subprocess.run(
            (sys.executable, "-m", __name__, node.head_address, node_id),
            env={**os.environ, **client_environment(node.token_path, node.tls)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return {0: True, _GIVEN_UP: False}.get(done.returncode)


def main(address: str, node_id: str) -> int:
    """Ask once; return the exit status."""
    from ray._raylet import GcsClient  # type: ignore[attr-defined]  # noqa: PLC0415  Cython; a supervisor loads no Ray

    (is_alive,) = GcsClient(address=address).check_alive([bytes.fromhex(node_id)], timeout=_ANSWER_LIMIT_S)
    return 0 if is_alive else _GIVEN_UP


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
