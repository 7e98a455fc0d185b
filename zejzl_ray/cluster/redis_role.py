"""What Redis of this machine is when it starts, primary or replica: a file that its configuration includes.

The main configuration belongs to the administrator and may be read-only, so Redis cannot write a new role into it.
"""

from pathlib import Path
from typing import Final

from zejzl_ray.cluster.private_file import make_private_file, write_private_file
from zejzl_ray.cluster.redis_address import RedisAddress
from zejzl_ray.errors import ClusterError

ROLE_FILE: Final = "redis_role.conf"
# Until it hears from its primary nobody knows what it has missed since it was stopped, and Sentinel would make it the
# primary all the same: with 0 it does not. The watch of the machine raises it (``RedisPeer.allow_promotion``).
_REPLICA: Final = "replicaof {} {}\nreplica-priority 0\n"
_PRIMARY: Final = "# primary; written by zejzl-ray when the role changes\n"


def ensure_role_file(data_dir: Path) -> Path:
    """Make the file of a primary where there is none; one that is there is kept. Safe to repeat.

    Raises:
        ClusterError: it cannot be written.
    """
    path = data_dir / ROLE_FILE
    make_private_file(path, _PRIMARY)
    return path


def write_role(data_dir: Path, primary: RedisAddress | None) -> Path:
    """Write down whom Redis follows from its next start on; durable on return, and untouched when it says so already.

    Args:
        data_dir: of the user that runs the cluster.
        primary: whose replica it is; None: it is the primary itself.

    Raises:
        ClusterError: it cannot be written.
    """
    path = data_dir / ROLE_FILE
    text = _PRIMARY if primary is None else _REPLICA.format(primary.host, primary.port)
    try:
        if path.read_text() == text:
            return path
    except FileNotFoundError:
        pass
    except OSError as error:
        raise ClusterError(f"Cannot read {path}: {error.strerror}.") from None
    write_private_file(path, text)
    return path
