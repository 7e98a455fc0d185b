"""``zejzl dashboard``: at the head, through ssh, and without a browser."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from typer.testing import CliRunner, Result

from tests.unit.cluster.nodes import a_worker
from zejzl_ray.cli import dashboard as command
from zejzl_ray.cli.main import app
from zejzl_ray.cluster.node_start import NodePorts, NodeRole
from zejzl_ray.cluster.ports import free_ports
from zejzl_ray.cluster.record import ClusterRecord
from zejzl_ray.cluster.supervisor_record import SupervisorRecord
from zejzl_ray.errors import ClusterError

Run = Callable[..., Result]

FILE = """
cluster_name: zejzl
min_workers: 1
provider: {type: local, head_ip: 10.0.0.1, worker_ips: [10.0.0.2]}
auth: {ssh_user: me}
head_start_ray_commands: [zejzl node start --head --machine mainpc]
worker_start_ray_commands: [zejzl node start --address $RAY_HEAD_IP --worker pc2=10.0.0.2]
"""


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A browser that notes what it is to open."""
    urls: list[str] = []

    def browse(url: str) -> bool:
        urls.append(url)
        return True

    monkeypatch.setattr("zejzl_ray.cli.dashboard.webbrowser.open", browse)
    monkeypatch.setenv("DISPLAY", ":0")
    return urls


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: list[str]) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZEJZL_DATA_DIR", str(tmp_path))
    return lambda *arguments: CliRunner().invoke(app, ["dashboard", *arguments])


def _record(data_dir: Path, role: NodeRole, head: str = "10.0.0.1") -> None:
    node = a_worker(
        role=role,
        head_address=f"{head}:6379",
        token_path=data_dir / "ray_token",
        ports=NodePorts(dashboard=8300),
    )
    SupervisorRecord(node=node, pid=os.getpid(), started_at_s=psutil.Process().create_time()).write(data_dir)


def test_at_the_head_the_browser_opens_it_and_the_token_file_is_named(
    run: Run, tmp_path: Path, opened: list[str]
) -> None:
    _record(tmp_path, NodeRole.HEAD)

    done = run()

    assert done.exit_code == 0, done.output
    assert opened == ["http://127.0.0.1:8300"]
    assert str(tmp_path / "ray_token") in done.stderr


def test_a_cluster_on_one_machine_says_where_its_dashboard_is(
    run: Run, tmp_path: Path, opened: list[str]
) -> None:
    ClusterRecord(
        cluster_id="c1", temp_dir=tmp_path, address="127.0.0.1:1", dashboard_url="http://127.0.0.1:8777",
        http_url="http://127.0.0.1:7000", bind_host="127.0.0.1", namespace="zejzl", machines=("mainpc",),
    ).write(tmp_path)  # fmt: skip

    assert run("--print").stdout == "http://127.0.0.1:8777\n"
    assert opened == []


def test_without_a_screen_the_address_is_printed(
    run: Run, tmp_path: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _record(tmp_path, NodeRole.HEAD)
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")

    done = run()

    assert (done.exit_code, done.stdout, opened) == (0, "http://127.0.0.1:8300\n", [])
    assert "no browser" in done.stderr


def test_elsewhere_than_at_the_head_the_way_leads_through_ssh(run: Run, tmp_path: Path) -> None:
    _record(tmp_path, NodeRole.WORKER)
    (tmp_path / "cluster.yaml").write_text(FILE)
    port = free_ports(1)[0]

    done = run("--print", "--port", str(port))

    assert done.stdout == f"http://127.0.0.1:{port}\n"
    assert f"-L 127.0.0.1:{port}:127.0.0.1:{port} -- me@10.0.0.1" in done.stderr.replace("\n", "")


def test_after_a_takeover_the_way_leads_to_the_machine_that_is_the_head_now(run: Run, tmp_path: Path) -> None:
    _record(tmp_path, NodeRole.WORKER, head="10.0.0.2")
    (tmp_path / "cluster.yaml").write_text(FILE)

    assert "-- me@10.0.0.2" in run("--print").stderr.replace("\n", " ").replace("  ", " ")


def test_a_port_that_is_taken_here_is_another_one_on_this_side(run: Run, tmp_path: Path) -> None:
    (tmp_path / "cluster.yaml").write_text(FILE)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        done = run("cluster.yaml", "--print", "--port", str(port))

    assert f":127.0.0.1:{port} -- me@10.0.0.1" in done.stderr.replace("\n", "")
    assert done.stdout != f"http://127.0.0.1:{port}\n"


def test_where_nothing_is_known_of_a_head_it_says_what_to_do(run: Run) -> None:
    done = run()

    assert isinstance(done.exception, ClusterError)
    assert "zejzl dashboard cluster.yaml" in done.exception.remedy


@pytest.mark.parametrize("interrupt", [False, True])
def test_the_connection_ends_with_the_command(
    run: Run, tmp_path: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch, interrupt: bool
) -> None:
    (tmp_path / "cluster.yaml").write_text(FILE)
    port = free_ports(1)[0]
    program = f"import socket; s = socket.create_server(('127.0.0.1', {port})); s.accept()"
    started: list[subprocess.Popen[bytes]] = []

    def popen(argv: tuple[str, ...], **options: Any) -> "subprocess.Popen[bytes]":
        started.append(real((sys.executable, "-c", program), **options))
        return started[0]

    def browse(url: str) -> bool:
        opened.append(url)
        if interrupt:
            raise KeyboardInterrupt
        socket.create_connection(("127.0.0.1", port)).close()
        return True

    real = subprocess.Popen
    monkeypatch.setattr("zejzl_ray.cli.dashboard.subprocess.Popen", popen)
    monkeypatch.setattr("zejzl_ray.cli.dashboard.webbrowser.open", browse)

    done = run("cluster.yaml", "--port", str(port))

    assert done.exit_code == 0, done.output
    assert opened == [f"http://127.0.0.1:{port}"]
    assert started[0].poll() is not None


@pytest.mark.parametrize(
    ("program", "words"), [("exit 255", "did not reach"), ("exec sleep 60", "within 0.2 s")]
)
def test_a_head_that_ssh_does_not_reach_is_told(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, words: str
) -> None:
    (tmp_path / "cluster.yaml").write_text(FILE)
    real = subprocess.Popen
    monkeypatch.setattr(command, "_FORWARD_LIMIT_S", 0.2)
    monkeypatch.setattr(
        "zejzl_ray.cli.dashboard.subprocess.Popen",
        lambda argv, **options: real(("sh", "-c", program), **options),
    )

    done = run("cluster.yaml", "--port", str(free_ports(1)[0]))

    assert isinstance(done.exception, ClusterError)
    assert words in str(done.exception)
