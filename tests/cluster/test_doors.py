"""Every door of the live system is on the list, no wider than it says, and refuses who shows nothing.

What is looked at comes from the kernel: all listening sockets of all processes of the system. A listener that somebody
adds tomorrow is in this test without anybody remembering.
"""

import asyncio
import json
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx2
import ray

from tests.cluster.doors_of import host_of, open_doors, without_token
from tests.cluster.system import System
from zejzl_ray.cluster.doors import DOORS, OpenDoor, Proof, Speaks
from zejzl_ray.cluster.listeners import Listener, ProcessKind, Reach, Transport

# There at every moment on one machine; the others come and go.
ALWAYS = {door.name for door in DOORS if door.kind is not None} - {
    "Ray client, one program",
    "proxy log",  # from its first line on
    *(door.name for door in DOORS if door.kind is ProcessKind.AGENT_HOST),  # there are no agents
    *(door.name for door in DOORS if door.is_asked_for),
}  # fmt: skip
_LIMIT_S = 10.0


def asking_for(found: Iterable[OpenDoor], speaks: Speaks) -> list[tuple[Listener, tuple[str, ...]]]:
    """Return the sockets behind a token, with what to try there."""
    return [
        (one.listener, one.door.tried)
        for one in found
        if one.door is not None
        and one.door.speaks is speaks
        and one.door.proof in (Proof.ACCESS_TOKEN, Proof.RAY_TOKEN)
    ]


def test_everything_that_listens_is_on_the_list_and_no_wider_than_it_says(ray_cluster: System) -> None:
    found = open_doors(ray_cluster)
    unlisted = [
        (one.listener.place, one.listener.kind, one.listener.title) for one in found if one.door is None
    ]
    assert unlisted == []
    assert {one.door.name for one in found if one.door is not None} >= ALWAYS
    wide = {
        (one.listener.kind, one.listener.place)
        for one in found
        if one.listener.reach not in (Reach.LOOPBACK, Reach.FILE) and one.listener.transport is Transport.TCP
    }
    assert wide == set()


def test_health_ports_are_those_of_the_settings(running_system: System) -> None:
    named = ("RESOURCE_MANAGER", "OBSERVABILITY", "ERROR_BUS", "SECURITY")
    found = open_doors(running_system)
    ports = {one.listener.port for one in found if one.door is not None and one.door.name == "health ports"}
    assert ports == {int(running_system.environment[f"ZEJZL_{name}_PORT"]) for name in named}


async def test_every_door_that_speaks_http_refuses_who_shows_nothing(running_system: System) -> None:
    doors = asking_for(open_doors(running_system), Speaks.HTTP)
    assert len(doors) >= 8
    async with httpx2.AsyncClient(timeout=_LIMIT_S) as client:
        for listener, paths in doors:
            for path in paths:
                answer = await client.get(f"http://{host_of(listener)}:{listener.port}{path}")
                assert answer.status_code == 401, (listener, path, answer.status_code, answer.text[:200])


async def test_every_door_of_rays_own_calls_refuses_who_has_no_token(running_system: System) -> None:
    doors = asking_for(open_doors(running_system), Speaks.GRPC)
    assert len({listener.kind for listener, _ in doors}) >= 7
    for listener, methods in doors:
        answers = [await without_token(listener, method) for method in methods]
        # A server without the method says so; one of them is that server's own.
        assert set(answers) <= {"UNAUTHENTICATED", "UNIMPLEMENTED"}, (listener, answers)
        assert "UNAUTHENTICATED" in answers, (listener, answers)


def test_socket_files_are_in_directories_that_only_their_owner_enters(running_system: System) -> None:
    found = [one.listener for one in open_doors(running_system) if one.listener.transport is Transport.FILE]
    assert found
    for listener in found:
        closed = [
            folder
            for folder in Path(listener.address).parents
            if (state := folder.stat()).st_uid == os.getuid() and not stat.S_IMODE(state.st_mode) & 0o077
        ]
        assert closed, listener


class Stranger:
    """An actor that opens a port which nobody has thought of."""

    def open(self) -> int:
        import socket

        self.socket = socket.create_server(("127.0.0.1", 0))
        return int(self.socket.getsockname()[1])


async def test_a_listener_that_nobody_has_put_on_the_list_is_found(
    ray_cluster: System, namespace: str
) -> None:
    actor: Any = ray.remote(num_cpus=0)(Stranger)
    handle = actor.options(namespace=namespace, name="stranger").remote()
    port = await handle.open.remote()
    unlisted = [one.listener for one in open_doors(ray_cluster) if one.door is None]
    assert [(one.kind, one.port) for one in unlisted] == [(ProcessKind.WORKER, port)]
    done = await asyncio.to_thread(ray_cluster.zejzl, "doors")
    assert done.returncode == 1
    assert f"127.0.0.1:{port}" in done.stdout


def test_the_command_shows_the_doors_of_the_running_system(running_system: System) -> None:
    done = running_system.zejzl("doors", "--json")
    shown = json.loads(done.stdout)
    names = {one["door"] for one in shown["open"]}
    assert names >= ALWAYS
    assert {one["door"] for one in shown["open"] if one["process"] == ProcessKind.PROXY} <= {
        "ingress", "proxy control", "proxy log",
    }  # fmt: skip
