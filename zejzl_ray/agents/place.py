"""What others see of an agent, and what stays while it is restarted: its mailbox, its topics, its registration."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from pydantic import JsonValue

from zejzl_ray.agents.agent import Agent
from zejzl_ray.agents.desk import is_request
from zejzl_ray.agents.heartbeats import Heartbeats, Registrant
from zejzl_ray.agents.ports import Mail
from zejzl_ray.bus.failures import FAILURE, failure_content
from zejzl_ray.bus.message import Message
from zejzl_ray.contracts.agent_life import AgentHealth
from zejzl_ray.errors import AgentHeld, AgentUnreachable, ZejzlError
from zejzl_ray.log import get_logger

SUBSCRIPTIONS_KEY: Final = "subscriptions"
"""Metadata of a registration: the patterns of topics, so that other processes know who listens."""

_TELL_S: Final = 2.0

_log = get_logger("agents")


class AgentPlace:
    """The place of one agent at the bus and in the registry.

    Args:
        name: of the agent.
        mail: the bus.
        heartbeats: keeps it registered; None: it is not registered.
        metadata: told to the registry.
    """

    def __init__(
        self,
        name: str,
        mail: Mail,
        heartbeats: Heartbeats | None = None,
        metadata: Mapping[str, JsonValue] | None = None,
    ) -> None:
        self.name = name
        self._mail = mail
        self._heartbeats = heartbeats
        self._metadata = metadata or {}
        self._has_mailbox = False

    def open(self, agent: Agent) -> None:
        """Open the mailbox and subscribe to the topics; safe to repeat.

        Raises:
            ZejzlError: the name is taken, or a pattern is wrong; nothing is left open.
        """
        if self._has_mailbox:
            return
        self._mail.open_mailbox(
            self.name,
            capacity=agent.mailbox_capacity,
            overflow=agent.overflow,
            mail_scope=agent.mail_scope,
        )
        try:
            for pattern in agent.subscriptions:
                self._mail.subscribe(self.name, pattern)
        except BaseException:
            self._mail.close_mailbox(self.name)
            raise
        self._has_mailbox = True

    async def claim(
        self,
        agent: Agent,
        health: Callable[[], Awaitable[AgentHealth]],
        on_lost: Callable[[AgentHeld], None],
    ) -> None:
        """Register the agent and keep it registered; again: as this agent, with this health, from now on.

        Before its mailbox is opened: an agent that lives in another process gets no mail here. Where the registry is
        away the agent may start all the same, and ``on_lost`` tells when another process turns out to hold it.

        Raises:
            AgentHeld: another process holds it.
        """
        if self._heartbeats is not None:
            metadata = dict(self._metadata)
            if agent.subscriptions:
                metadata[SUBSCRIPTIONS_KEY] = list(agent.subscriptions)
            period_s, capabilities = agent.heartbeat_period_s, tuple(agent.capabilities)
            await self._heartbeats.claim(
                Registrant(self.name, period_s, health, capabilities, metadata, on_lost)
            )

    async def tell(self) -> None:
        """Tell the registry how the agent is, now."""
        if self._heartbeats is not None:
            await self._heartbeats.tell(self.name)

    def hurry(self) -> None:
        """Tell the registry soon that the health has changed."""
        if self._heartbeats is not None:
            self._heartbeats.hurry(self.name)

    async def close_mailbox(self, reason: str) -> int:
        """Close the mailbox; return how many messages were in it. Requests of other processes are answered with why."""
        if not self._has_mailbox:
            return 0
        self._has_mailbox = False
        left = self._mail.close_mailbox(self.name)
        try:
            async with asyncio.timeout(_TELL_S):
                for message in left:
                    if is_request(message) and not self._mail.is_local(message.from_agent):
                        await self._tell(message, reason)
        except TimeoutError:
            _log.warning("not every request could be answered", agent=self.name)
        return len(left)

    async def close(self, reason: str) -> int:
        """Close the mailbox and deregister; return how many messages were in it. Safe to repeat."""
        left = await self.close_mailbox(reason)
        if self._heartbeats is not None:
            await self._heartbeats.remove(self.name)
        return left

    async def _tell(self, request: Message, reason: str) -> None:
        error = AgentUnreachable(
            f"{self.name} {reason} before it handled the request.",
            "Ask again once it is back.",
            {"to_agent": self.name},
        )
        try:
            await self._mail.respond(
                request, failure_content(error), message_type=FAILURE, from_agent=self.name
            )
        except ZejzlError as wrong:
            _log.warning(
                "failure could not be told", agent=self.name, to=request.from_agent, error=str(wrong)
            )
