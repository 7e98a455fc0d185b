"""What `up` writes down about its cluster before it starts anything, so that `down` finds all of it."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from zejzl_ray.cluster.private_file import write_private_file
from zejzl_ray.errors import ClusterError
from zejzl_ray.tls.credentials import TlsFiles

FILE_NAME = "cluster.json"


class ClusterRecord(BaseModel):
    """One local cluster."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    cluster_id: str
    temp_dir: Path
    address: str
    dashboard_url: str
    http_url: str
    bind_host: str
    namespace: str
    machines: tuple[str, ...]
    is_complete: bool = False
    tls: TlsFiles | None = None
    metrics_ports: tuple[int, ...] = ()

    def write(self, data_dir: Path) -> None:
        """Write the record atomically, mode 0600.

        Raises:
            ClusterError: the directory cannot be written.
        """
        write_private_file(data_dir / FILE_NAME, self.model_dump_json(indent=2))


def read_record(data_dir: Path) -> ClusterRecord | None:
    """Return the record of this data directory's cluster, or None when there is none.

    Raises:
        ClusterError: the file is there but cannot be read.
    """
    path = data_dir / FILE_NAME
    try:
        return ClusterRecord.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise ClusterError(
            f"The cluster record {path} cannot be read ({type(error).__name__}).",
            "Remove the file, then run `zejzl down`.",
        ) from None


def require_record(data_dir: Path) -> ClusterRecord:
    """Return the record of this data directory's cluster.

    Raises:
        ClusterError: there is none.
    """
    record = read_record(data_dir)
    if record is None:
        raise ClusterError(f"No cluster of {data_dir} is up.", "Start it with `zejzl up`.")
    return record


def remove_record(data_dir: Path) -> None:
    """Forget the cluster; safe to repeat."""
    (data_dir / FILE_NAME).unlink(missing_ok=True)
