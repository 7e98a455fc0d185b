import socket
import subprocess
import sys
from pathlib import Path

import nats
import psutil
import pytest

from zejzl_ray.errors import ServiceUnavailable
from zejzl_ray.testing.nats import NatsServer


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


def test_further_settings_reach_the_server(tmp_path: Path) -> None:
    with NatsServer(directory=tmp_path, is_synced=True, settings=("max_payload: 2MB",)) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as client:
            assert b'"max_payload":2097152' in client.recv(4096)
    assert "sync_interval: always" in (tmp_path / "nats.conf").read_text()


def test_a_faulty_setting_is_told_with_the_servers_own_words(tmp_path: Path) -> None:
    with pytest.raises(ServiceUnavailable, match=r"nats\.conf:5:1"):
        NatsServer(directory=tmp_path, settings=("max_payload: much",)).start()


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
