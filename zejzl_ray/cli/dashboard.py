"""``zejzl dashboard``: Ray's dashboard in a browser, through ssh where the head is another machine."""

import os
import shlex
import subprocess
import sys
import time
import webbrowser
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from zejzl_ray.cli.console import errors
from zejzl_ray.cluster.local_plan import RAY_TOKEN_FILE
from zejzl_ray.cluster.node_ports import DASHBOARD_PORT
from zejzl_ray.cluster.node_start import NodeRole
from zejzl_ray.cluster.ports import free_ports, is_port_free
from zejzl_ray.cluster.record import read_record
from zejzl_ray.cluster.supervisor_record import read_supervisor_record
from zejzl_ray.cluster_check.ssh import ssh_options
from zejzl_ray.cluster_file.read import read_cluster_file
from zejzl_ray.errors import ClusterError
from zejzl_ray.settings import Settings, load_settings

LOOPBACK: Final = "127.0.0.1"
_DEFAULT_FILE: Final = Path("cluster.yaml")
_FORWARD_LIMIT_S: Final = 20.0
_POLL_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Way:
    """How this computer reaches the dashboard.

    Attributes:
        url: what the browser opens.
        forward: the ssh command that has to run meanwhile; empty at the head.
        port: of this computer, which that command opens.
    """

    url: str
    forward: tuple[str, ...] = ()
    port: int = 0


def dashboard(
    file: Annotated[
        Path | None,
        typer.Argument(help="The cluster file, where the head is another machine.", show_default=False),
    ] = None,
    print_only: Annotated[
        bool,
        typer.Option(
            "--print", help="Only print the address; elsewhere than at the head also the ssh command."
        ),
    ] = False,
    port: Annotated[
        int | None, typer.Option(min=1024, max=65535, help="Port of the dashboard at the head; unset: 8265.")
    ] = None,
) -> None:
    """Open Ray's dashboard in a browser; it asks for the Ray token, whose file is named.

    At the head it is on loopback. Elsewhere, with a cluster file (./cluster.yaml if it is there), an ssh connection to
    the head carries it until Ctrl-C. Without a browser the address is printed.
    """
    settings = load_settings()
    way = _here(settings) if file is None else None
    if way is None:
        there = port or settings.dashboard_port or DASHBOARD_PORT
        way = _through_ssh(file or _DEFAULT_FILE, there, _head_of(settings))
    if print_only:
        typer.echo(way.url)
        if way.forward:
            errors.print(
                f"while this runs: {shlex.join(way.forward)}", highlight=False, markup=False, soft_wrap=True
            )
        return
    if not way.forward:
        _open(way.url, settings)
        return
    with subprocess.Popen(way.forward, stdin=subprocess.DEVNULL) as ssh:
        try:
            _wait_for(ssh, way.port)
            _open(way.url, settings)
            errors.print("Ctrl-C ends the connection.", highlight=False)
            raise typer.Exit(1 if ssh.wait() else 0)
        except KeyboardInterrupt:
            return
        finally:
            ssh.terminate()


def _here(settings: Settings) -> Way | None:
    """Return the way at the head, of one machine or of several; None elsewhere."""
    record = read_supervisor_record(settings.data_path)
    if record is not None and record.is_alive:
        is_head = record.node.role is NodeRole.HEAD
        return Way(f"http://{LOOPBACK}:{record.node.ports.dashboard}") if is_head else None
    local = read_record(settings.data_path)
    return Way(local.dashboard_url) if local is not None else None


def _head_of(settings: Settings) -> str:
    """Return the address of the head that this worker has, which after a takeover is not the file's; else nothing."""
    record = read_supervisor_record(settings.data_path)
    if record is None or not record.is_alive or record.node.role is NodeRole.HEAD:
        return ""
    return record.node.head_address.rpartition(":")[0].strip("[]")


def _through_ssh(file: Path, there: int, head: str) -> Way:
    if not file.expanduser().exists():
        raise ClusterError(
            "No head runs on this machine.",
            "Start it (`zejzl up`), or name the cluster file of another: zejzl dashboard cluster.yaml",
        )
    cluster = read_cluster_file(file).require()
    here = there if is_port_free(LOOPBACK, there) else free_ports(1)[0]
    options = ("-N", "-o", "ExitOnForwardFailure=yes", "-L", f"{LOOPBACK}:{here}:{LOOPBACK}:{there}")
    target = f"{cluster.ssh_user}@{head or cluster.head.address}"
    return Way(f"http://{LOOPBACK}:{here}", ("ssh", *ssh_options(cluster), *options, "--", target), here)


def _wait_for(ssh: "subprocess.Popen[bytes]", port: int) -> None:
    deadline_s = time.monotonic() + _FORWARD_LIMIT_S
    while is_port_free(LOOPBACK, port):
        if ssh.poll() is not None:
            raise ClusterError("ssh did not reach the head.", "`zejzl cluster check` says why.")
        if time.monotonic() > deadline_s:
            raise ClusterError(f"ssh did not open port {port} within {_FORWARD_LIMIT_S:g} s.", "Try again.")
        time.sleep(_POLL_S)


def _open(url: str, settings: Settings) -> None:
    typer.echo(url)
    errors.print(
        f"It asks for the token in {settings.data_path / RAY_TOKEN_FILE}", highlight=False, soft_wrap=True
    )
    if _has_screen() and webbrowser.open(url):
        return
    errors.print("There is no browser here: open the address in one.", highlight=False)


def _has_screen() -> bool:
    """A browser for the terminal would take it over, so on Linux there has to be a screen, or a choice."""
    if sys.platform != "linux":
        return True
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))
