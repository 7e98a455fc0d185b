"""Hosts with agents for ``test_agents_mail.py``, and how the test talks to them."""

import asyncio
import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from actors.agent_host import lasting
from actors.identities import Identities
from tests.cluster.eventually import eventually
from tests.cluster.mail_host import MailHostActor
from tests.cluster.system import System
from zejzl_ray.cluster.agent_host import AgentHostOptions, HostedAgent
from zejzl_ray.cluster.names import MACHINE_LABEL, agent_host_name
from zejzl_ray.contracts import agent_host as wire
from zejzl_ray.contracts.orchestrator import DeregisterAgent
from zejzl_ray.contracts.services import BY_SERVICE
from zejzl_ray.errors import AgentNotFound
from zejzl_ray.sdk.connect import connect
from zejzl_ray.settings import Settings


class Host:
    """A host, by the handle of its actor."""

    def __init__(self, name: str, handle: Any) -> None:
        self.name = name
        self._handle = handle

    async def do(self, method: str, *arguments: Any, limit_s: float = 60.0, **options: Any) -> Any:
        """Call a method of ``MailHostActor``; raises what it raises."""
        try:
            return await asyncio.wait_for(
                getattr(self._handle, method).remote(*arguments, **options), limit_s
            )
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None

    async def gets_letter(self, message_id: str, reason: str, words: str, within_s: float = 10.0) -> None:
        """Wait for the dead letter of a message; it has this reason, and these words."""

        async def is_there() -> bool:
            return message_id in await self.do("letters")

        await eventually(is_there, within_s=within_s, what=f"{message_id} is a dead letter")
        found, detail = (await self.do("letters"))[message_id]
        assert (found, words in detail) == (reason, True), (found, detail)

    def end(self) -> None:
        ray.kill(self._handle)


@dataclass
class Stage:
    """The hosts, and what starts more."""

    folder: Path
    settings: Settings
    identities: Identities
    hosts: dict[str, Host]

    def start(self, name: str, machine: str, agents: tuple[HostedAgent, ...], subject: str = "") -> Host:
        """Start a host; ``subject`` is whose credential it has, if not its own."""
        actor: Any = ray.remote(MailHostActor)
        options = AgentHostOptions(
            name=name,
            machine=machine,
            settings=self.settings,
            credential=self.identities.credential_of(subject or f"service:{wire.SUBJECT_PREFIX}{name}"),
            agents=agents,
        )
        handle = actor.options(
            name=agent_host_name(name),
            namespace=self.settings.namespace,
            num_cpus=0,
            label_selector={MACHINE_LABEL: machine},
            **lasting(),
        ).remote(options)
        host = self.hosts[name] = Host(name, handle)
        return host

    def agent(self, name: str, kind: str, *, is_proved: bool = True, mail_scope: str = "") -> HostedAgent:
        """Return an agent as a host is told of it."""
        return HostedAgent(
            name,
            f"tests.cluster.mail_host:{kind}",
            {"notes": str(self.folder / name)},
            self.identities.credential_of(f"agent:{name}") if is_proved else None,
            mail_scope,
        )

    def noted(self, agent: str) -> list[tuple[str, str]]:
        """Return (message id, topic) of all that an agent of several processes has handled."""
        path = self.folder / agent
        lines = path.read_text().splitlines() if path.exists() else []
        return [(line.split()[2], line.split()[3]) for line in lines]

    async def notes(self, agent: str, message_id: str, within_s: float = 30.0) -> None:
        """Wait until an agent has handled a message; it did so once."""

        async def is_there() -> bool:
            return message_id in dict(self.noted(agent))

        await eventually(is_there, within_s=within_s, what=f"{agent} handles {message_id}")
        assert [noted for noted, _ in self.noted(agent)].count(message_id) == 1


async def answers(
    stage: Stage, sender: str, receiver: str, host: str = "mailA", within_s: float = 60.0
) -> None:
    """Wait until an agent answers another one."""
    why = ""

    async def has_answered() -> bool:
        nonlocal why
        try:
            error, _ = await stage.hosts[host].do("ask", sender, receiver, "ping", {}, 2.0)
        except ray.exceptions.RayError:  # it is being started anew
            return False
        why = error
        return not error

    try:
        await eventually(has_answered, within_s=within_s, what=f"{receiver} answers {sender}")
    except AssertionError as error:
        error.add_note(f"the last attempt ended with {why}")
        raise


def forget_agents(system: System, names: Iterable[str]) -> None:
    """Take agents off the registry whose hosts were ended, so that other tests find it as it was."""
    operation = BY_SERVICE["core_orchestrator"]["deregister_agent"]
    with connect("ray", token_file=system.data_dir / "token") as client:
        for name in names:
            with contextlib.suppress(AgentNotFound):
                client.call(operation, DeregisterAgent(name=name, reason="its test is over"))
