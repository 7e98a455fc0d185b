"""What is Redis' own; what holds for every server stands in ``test_server_process.py``."""

import socket

import pytest
import redis

from zejzl_ray.testing import redis_server
from zejzl_ray.testing.redis_server import RedisServer


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


def test_a_free_port_that_somebody_took_first_is_exchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ports = [taken.getsockname()[1]]
        real = redis_server._free_port
        monkeypatch.setattr(redis_server, "_free_port", lambda: ports.pop() if ports else real())
        with RedisServer() as server:
            assert server.port != taken.getsockname()[1]
