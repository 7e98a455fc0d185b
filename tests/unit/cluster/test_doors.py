"""The list of doors: that it is whole and means what it says, and that nothing passes for a door that is wider."""

import dataclasses
import re
from collections import Counter
from pathlib import Path

import pytest

from zejzl_ray.cluster.doors import DOORS, Door, Proof, Setup, Speaks, match_doors
from zejzl_ray.cluster.listeners import Listener, ProcessKind, Reach, Transport
from zejzl_ray.settings import Settings

PAGE = Path(__file__).parents[3] / "docs" / "doors.md"
SETUP = Setup(http_port=7000, gcs_port=6379, dashboard_port=8265)
BETWEEN = dataclasses.replace(SETUP, is_one_machine=False)
BY_NAME = {door.name: door for door in DOORS}

# Read by a person: whoever reaches these is served without proof. Each row more needs a reason in its note.
OPEN = {"Ray's figures"}  # not unless the owner asks for them: Ray knows no proof there
# Wider than loopback between machines; the last two on one machine too.
WIDE = {
    "control store", "raylet", "calls of services", "calls of ingress replicas", "calls of Serve's proxy",
    "calls of hosts of agents", "calls of other actors", "mail", "Ray client", "Ray client, one program", "node agent",
    "node agent, HTTP", "Ray's figures", "runtime environment agent", "proxy log", "Redis",
}  # fmt: skip


def listener(kind: ProcessKind, address: str, port: int = 0, pid: int = 1) -> Listener:
    transport = Transport.FILE if address.startswith("/") else Transport.TCP
    return Listener(pid, kind, "title", transport, address, port)


def names(*found: Listener, setup: Setup = SETUP) -> list[str | None]:
    return [None if one.door is None else one.door.name for one in match_doors(found, setup)]


def test_names_are_unique() -> None:
    assert [name for name, count in Counter(door.name for door in DOORS).items() if count > 1] == []


def test_what_is_open_to_anybody_is_frozen_and_says_why() -> None:
    assert {door.name for door in DOORS if door.proof is Proof.NOTHING} == OPEN
    assert all(BY_NAME[name].note for name in OPEN)


def test_what_is_wider_than_loopback_is_frozen_and_says_why() -> None:
    wide = {door for door in DOORS if door.reaches - {Reach.LOOPBACK, Reach.FILE}}
    assert {door.name for door in wide} == WIDE
    assert {door.name for door in wide if not door.is_between_machines} == {"proxy log", "Redis"}
    assert {door.name for door in DOORS if door.follows_bind_host} == {"ingress"}


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
def test_a_door_that_asks_for_a_token_names_what_can_be_tried_without(door: Door) -> None:
    asks = door.proof in (Proof.ACCESS_TOKEN, Proof.RAY_TOKEN)
    assert bool(door.tried) is asks
    assert door.speaks in (Speaks.HTTP, Speaks.GRPC) or not asks
    assert (door.transport is Transport.FILE) is (door.reaches == {Reach.FILE}) is bool(door.path)
    assert (door.proof is Proof.OWNER) is (door.transport is Transport.FILE)


def test_settings_that_the_list_names_are_settings_with_those_defaults() -> None:
    named = {
        (name.lower(), int(port))
        for door in DOORS
        for name, port in re.findall(r"ZEJZL_(\w+_PORT) \((\d+)", door.where)
    }
    defaults = {
        (name, value.default)
        for name, value in Settings.model_fields.items()
        if name.endswith("_port") and isinstance(value.default, int)
    }
    assert defaults <= named  # a service with a port of its own has a row
    assert named - defaults == {("dashboard_port", 8265)}  # taken when it is free


def test_a_socket_is_a_door_only_at_its_own_process_address_and_port() -> None:
    proxy, service = ProcessKind.PROXY, ProcessKind.SERVICE
    assert names(listener(proxy, "127.0.0.1", 7000)) == ["ingress"]
    assert names(listener(proxy, "127.0.0.1", 7004)) == [None]
    assert names(listener(proxy, "0.0.0.0", 7000)) == [None]
    assert names(listener(service, "127.0.0.1", 7001)) == ["health ports"]
    assert names(listener(service, "192.0.2.2", 7001)) == [None]
    assert names(listener(ProcessKind.OTHER, "127.0.0.1", 7000)) == [None]
    assert names(listener(ProcessKind.CONTROL_STORE, "::ffff:127.0.0.1", 6379)) == ["control store"]
    assert names(listener(ProcessKind.CONTROL_STORE, "::ffff:127.0.0.1", 6380)) == [None]


def test_rays_doors_are_wide_between_machines_only() -> None:
    store = listener(ProcessKind.CONTROL_STORE, "::", 6379)
    assert names(store) == [None]
    assert names(store, setup=BETWEEN) == ["control store"]


def test_what_the_owner_has_opened_further_is_a_door_there_and_nowhere_else() -> None:
    setup = dataclasses.replace(SETUP, bind_host="192.0.2.2")
    proxy = ProcessKind.PROXY
    wide, near, other = (listener(proxy, host, 7000) for host in ("192.0.2.2", "127.0.0.1", "192.0.2.3"))
    assert names(wide, near, setup=setup) == ["ingress", "ingress"]
    assert names(other, setup=setup) == [None]
    assert names(listener(ProcessKind.SERVICE, "192.0.2.2", 7001), setup=setup) == [None]


def test_doors_of_one_process_are_told_apart() -> None:
    agent = ProcessKind.NODE_AGENT
    http, outer, calls = (listener(agent, host, 1) for host in ("127.0.0.1", "192.0.2.2", "::"))
    assert names(http, outer, calls, setup=BETWEEN) == ["node agent, HTTP", "node agent, HTTP", "node agent"]
    assert names(http, listener(agent, "::ffff:127.0.0.1", 2)) == ["node agent, HTTP", "node agent"]


def test_a_host_of_agents_has_two_doors_whichever_comes_first_and_no_third() -> None:
    host = ProcessKind.AGENT_HOST
    mail, calls = listener(host, "::ffff:192.0.2.2", 20010), listener(host, "::", 20100)
    assert names(mail, calls, setup=BETWEEN) == ["mail", "calls of hosts of agents"]
    assert names(calls, mail, setup=BETWEEN) == ["calls of hosts of agents", "mail"]
    near = [listener(host, "::ffff:127.0.0.1", port) for port in (1, 2, 3)]
    assert names(*near) == ["mail", "calls of hosts of agents", None]


def test_a_page_of_figures_without_a_token_is_no_door() -> None:
    assert names(listener(ProcessKind.NODE_AGENT, "0.0.0.0", 1), setup=BETWEEN) == [None]
    assert names(listener(ProcessKind.AUTOSCALER, "127.0.0.1", 44217)) == [None]


def test_rays_page_of_figures_is_a_door_at_its_port_and_only_where_it_is_asked_for() -> None:
    near, far = (listener(ProcessKind.NODE_AGENT, host, 8090) for host in ("127.0.0.1", "0.0.0.0"))
    ports = (8090, 8091)
    assert names(near, setup=dataclasses.replace(SETUP, metrics_ports=ports)) == ["Ray's figures"]
    assert names(far, setup=dataclasses.replace(SETUP, metrics_ports=ports)) == [None]
    assert names(far, setup=dataclasses.replace(BETWEEN, metrics_ports=ports)) == ["Ray's figures"]
    assert names(far, setup=BETWEEN) == [None]


def test_one_more_socket_than_a_process_may_have_is_no_door() -> None:
    service = ProcessKind.SERVICE
    first, second = listener(service, "127.0.0.1", 7001), listener(service, "127.0.0.1", 7009)
    assert names(first, second) == ["health ports", None]
    assert names(first, dataclasses.replace(second, pid=2)) == ["health ports", "health ports"]


def test_socket_files_are_doors_by_their_place() -> None:
    assert names(listener(ProcessKind.RAYLET, "/tmp/c/r/session/sockets/raylet.1")) == ["raylet files"]
    assert names(listener(ProcessKind.REPLICA, "/tmp/other.sock")) == [None]


def cell(text: str) -> str:
    return text.replace("|", "\\|")


def test_the_page_shows_the_list() -> None:
    rows = [
        "| "
        + " | ".join(map(cell, (door.name, door.listens, door.where, door.address, door.proof, door.who)))
        + " |"
        for door in DOORS
    ]
    notes = [f"- **{door.name}**: {door.note}" for door in DOORS if door.note]
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("| ")][1:] == rows
    assert [line for line in lines if line.startswith("- **")] == notes
