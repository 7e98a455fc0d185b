"""Ask all machines at once, each over one ssh connection and with time limits, and put the answers together."""

import asyncio
import contextlib
import hashlib
import hmac
import os
import secrets
import shutil
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from zejzl_ray.cluster.this_machine import own_addresses
from zejzl_ray.cluster_check.asking import AskedMachine, Command, Say
from zejzl_ray.cluster_check.conversation import Conversation, ConversationEnded
from zejzl_ray.cluster_check.facts import (
    ClusterFacts,
    Facts,
    Here,
    Link,
    MachineFacts,
    Phase,
    RayAnswer,
    RedisAnswer,
    ReleaseHere,
    ServicesAnswer,
)
from zejzl_ray.cluster_check.needed_ports import (
    dashboard_port,
    outer_ports,
    redis_place,
    sentinels_of,
    store_url_of,
)
from zejzl_ray.cluster_check.phase import phase_of
from zejzl_ray.cluster_check.program_text import program_text
from zejzl_ray.cluster_check.ssh import SSH_PORT, ssh_command, ssh_fault, ssh_port
from zejzl_ray.cluster_file.model import CarriedRelease, ClusterFile
from zejzl_ray.errors import InvalidInput
from zejzl_ray.release.folder import read_folder

SSH_SERVER: Final = "its ssh server"
_CONNECT_LIMIT_S: Final = 20.0
_REDIS_LIMIT_S: Final = 20.0
_RAY_LIMIT_S: Final = 25.0
_SERVICES_LIMIT_S: Final = 40.0


class _Connected(Facts):
    results: tuple[dict[str, Any], ...] = ()


class Gathering:
    """One round of questions to all machines of a cluster.

    Args:
        cluster: which machines, and the way to them.
        say: told what a machine is busy with: its name, and what; empty when it is done.
        command: the command that runs the program on a machine; replaced in tests.
        fleet_gpus: machine -> cards that the fleet file declares.
    """

    def __init__(
        self,
        cluster: ClusterFile,
        *,
        say: Say = lambda machine, what: None,
        command: Command = ssh_command,
        fleet_gpus: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        self._cluster = cluster
        self._say = say
        self._command = command
        self._fleet_gpus = dict(fleet_gpus or {})
        self._program = program_text()
        self._digest_key = secrets.token_hex(16)
        self._ssh_ports: dict[str, int] = {}
        self._greeting = secrets.token_hex(8)
        self._machines = [
            AskedMachine(machine, is_head=machine is cluster.head, say=say) for machine in cluster.machines
        ]
        self._head = self._machines[0]

    async def facts(self, phase: Phase | None = None) -> ClusterFacts:
        """Ask everything, and return what was found; a machine that cannot be asked is part of that.

        Args:
            phase: before or after the start; None finds out.
        """
        async with contextlib.AsyncExitStack() as stack:
            await asyncio.gather(*(self._meet(machine, stack) for machine in self._machines))
            self._head = self._acting_head()
            found_phase = phase or phase_of(machine.facts for machine in self._machines)
            is_started = found_phase is Phase.AFTER
            await asyncio.gather(
                *(machine.listen(self._greeting, is_started=is_started) for machine in self._machines)
            )
            links = await asyncio.gather(*(self._links(machine) for machine in self._machines))
            await asyncio.gather(*(self._ask_redis(machine) for machine in self._machines))
            ray, services = await self._ask_head() if is_started else (None, None)
        return ClusterFacts(
            cluster=self._cluster,
            phase=found_phase,
            now_s=time.time(),
            machines=tuple(machine.facts for machine in self._machines),
            here=self._here(),
            links=tuple(link for found in links for link in found),
            ray=ray,
            services=services,
            fleet_gpus=self._fleet_gpus,
        )

    async def _meet(self, machine: AskedMachine, stack: contextlib.AsyncExitStack) -> None:
        self._say(machine.name, "connecting")
        await machine.resolve()
        self._ssh_ports[machine.name] = await ssh_port(self._cluster, machine.facts.machine)
        argv = self._command(self._cluster, machine.facts.machine, len(self._program))
        try:
            talk = await stack.enter_async_context(Conversation(argv, self._program))
        except ConversationEnded as ended:
            machine.refuse(ssh_fault(self._cluster, machine.facts.machine, ended.status, ended.said))
            self._say(machine.name, "")
            return
        await machine.meet(talk, self._cluster, self._digest_key)

    def _acting_head(self) -> AskedMachine:
        """Find who is the head: after a takeover another machine than the file declares."""
        running = [machine for machine in self._machines if machine.is_running_head]
        declared = self._machines[0]
        if declared in running or not running:
            return declared
        for machine in self._machines:
            machine.learn(is_head=machine is running[0])
        return running[0]

    async def _links(self, source: AskedMachine) -> list[Link]:
        """Connect from one machine to what it needs of the others."""
        wanted: list[tuple[Link, str]] = []
        for target in self._machines:
            if target is source:
                continue
            there = target.facts
            for port, what, is_greeted in self._targets(source, there):
                link = Link(
                    source=source.name, target=target.name, port=port, what=what, state="",
                    is_greeting_expected=is_greeted,
                )  # fmt: skip
                wanted.append((link, there.machine.address))
        if not wanted:
            return []
        targets = [[address, link.port, link.is_greeting_expected] for link, address in wanted]
        question = {"ask": "connect", "targets": targets}
        answer = await source.ask(question, _Connected, _CONNECT_LIMIT_S, "connecting to the others")
        if answer is None:
            return []
        return [
            link.model_copy(
                update={
                    "state": str(result.get("state")),
                    "error": result.get("error"),
                    "greeted_by": self._greeted_by(str(result.get("greeting") or "")),
                }
            )
            for (link, _), result in zip(wanted, answer.results, strict=False)
        ]

    def _targets(self, source: AskedMachine, there: MachineFacts) -> Iterable[tuple[int, str, bool]]:
        if source.facts.is_head and self._cluster.ssh_proxy_command is None and there.ssh_fault is None:
            yield self._ssh_ports.get(there.machine.name, SSH_PORT), SSH_SERVER, False
        if there.own is None:
            return
        for need in outer_ports(there.own, is_head=there.is_head):
            listened = there.outer_ports.get(need.port)
            if listened is not None and listened.state == "listening":
                yield listened.port, need.what, True
            elif need.port and listened is None:
                yield need.port, need.what, False

    def _greeted_by(self, greeting: str) -> str:
        own, _, name = greeting.partition(":")
        return name if own == self._greeting else ""

    async def _ask_redis(self, machine: AskedMachine) -> None:
        head = self._head.facts
        url = store_url_of(self._cluster.environment, head)
        place, sentinels = redis_place(url), sentinels_of(url)
        if place is not None:
            host, port, is_tls = place
            question = {"ask": "redis", "host": host, "port": port, "is_tls": is_tls, "machine": machine.name}
        elif sentinels is not None:
            primary, places, is_tls = sentinels
            question = {
                "ask": "redis", "sentinels": places, "primary": primary, "is_tls": is_tls, "machine": machine.name
            }  # fmt: skip
        else:
            return
        machine.learn(redis=await machine.ask(question, RedisAnswer, _REDIS_LIMIT_S, "logging in to Redis"))
        if place is None:
            return
        address = next(iter(machine.facts.addresses), machine.facts.machine.address)
        question = {**question, "ask": "replica", "host": address}
        replica = await machine.ask(question, RedisAnswer, _REDIS_LIMIT_S, "asking its own Redis")
        machine.learn(replica=replica if replica is not None and replica.state != "none" else None)

    async def _ask_head(self) -> tuple[RayAnswer | None, ServicesAnswer | None]:
        head = self._head
        own = head.facts.own
        if own is None or own.node.process("gcs_server") is None:
            return None, None
        question = {"ask": "ray", "port": dashboard_port(own)}
        ray = await head.ask(question, RayAnswer, _RAY_LIMIT_S, "listing Ray's nodes")
        status = {"ask": "services", "limit_s": _SERVICES_LIMIT_S - 5}
        return ray, await head.ask(status, ServicesAnswer, _SERVICES_LIMIT_S, "asking the services")

    def _here(self) -> Here:
        own = set(own_addresses())
        name = next((found.name for found in self._machines if own & set(found.facts.addresses)), "")
        digests = {}
        for path in self._cluster.copied.values():
            with contextlib.suppress(OSError):
                content = path.read_bytes().strip()
                digests[path.name] = hmac.new(self._digest_key.encode(), content, hashlib.sha256).hexdigest()[
                    :16
                ]
        return Here(
            machine=name,
            has_rsync=shutil.which("rsync") is not None,
            unmounted=_unmounted(self._cluster.copied.values()),
            secret_digests=digests,
            release=carried_here(self._cluster.carried_release),
        )


def _unmounted(paths: Iterable[Path]) -> dict[str, str]:
    found = {}
    for path in paths:
        try:
            path.stat()
            if not os.access(path, os.R_OK):
                found[str(path)] = "cannot be read"
        except FileNotFoundError:
            found[str(path)] = "is not there"
        except OSError as error:
            found[str(path)] = f"cannot be looked at ({error.strerror})"
    return found


def carried_here(release: CarriedRelease | None) -> ReleaseHere | None:
    """Return which release `ray up` would carry from here, or why none; None where none is to be carried."""
    if release is None:
        return None
    try:
        manifest = read_folder(release.here)
    except InvalidInput as error:
        return ReleaseHere(fault=error.message)
    if manifest is None:
        return ReleaseHere(fault=f"there is no release to carry in {release.here}")
    return ReleaseHere(id=manifest.id, python=manifest.python)
