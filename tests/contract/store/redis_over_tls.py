"""A Redis that speaks TLS only, set up with the lines of ``deploy/redis.conf``."""

import subprocess
import time
from pathlib import Path

from zejzl_ray.testing.redis_server import find_redis_server
from zejzl_ray.tls.credentials import tls_directory
from zejzl_ray.tls.directory import TlsDirectory
from zejzl_ray.tls.names import certificate_names


def has_tls() -> bool:
    """Return whether the Redis of this machine was built with TLS."""
    library = subprocess.run(
        ["ldd", str(find_redis_server())], capture_output=True, text=True, check=False
    ).stdout
    return "libssl" in library


def certified(data_dir: Path) -> Path:
    """Make an authority and the certificate of mainpc; return where they lie."""
    directory = tls_directory(data_dir)
    TlsDirectory(directory).init(certificate_names("mainpc", (), ()), time.time())
    return directory


def tls_settings(data_dir: Path, port: int) -> tuple[str, ...]:
    """Return the lines of the project's configuration that are about TLS and copies, for a port of their own."""
    lines = [
        line
        for line in (Path(__file__).parents[3] / "deploy" / "redis.conf").read_text().splitlines()
        if line.startswith(("tls-", "repl-"))
    ]
    edited = "\n".join(lines).replace("/home/zejzl/.local/share/zejzl/tls", str(tls_directory(data_dir)))
    return tuple(edited.replace("tls-port 6380", f"tls-port {port}").splitlines())
