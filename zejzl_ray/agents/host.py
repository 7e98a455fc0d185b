"""The agents of one process."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from zejzl_ray.agents.agent import Agent
from zejzl_ray.agents.factory import build_agent, load_agent_class
from zejzl_ray.agents.heartbeats import Heartbeats
from zejzl_ray.agents.lifecycle import Transition
from zejzl_ray.agents.ports import Registrar
from zejzl_ray.agents.runner import RunnerParts, StopReport
from zejzl_ray.agents.supervisor import AgentSupervisor, RestartPolicy
from zejzl_ray.bus.dead_letters import DeadLetter
from zejzl_ray.contracts.agent_life import AgentHealth, AgentInfo, LifeState
from zejzl_ray.errors import AgentExists, AgentNotFound, InvalidInput, Overloaded
from zejzl_ray.fleet.suggest import did_you_mean
from zejzl_ray.ids import NAME_REGEX

MAX_AGENTS: Final = 10_000


@dataclass(frozen=True, slots=True)
class AgentSpec:
    """An agent to run.

    Attributes:
        name: its name in the fleet.
        entry: its class as ``package.module:Class``.
        settings: its own settings, handed to it unchanged.
        policy: when it is started again; None: as usual in its host.
        mail_scope: in place of the one of its class; empty: that one.
    """

    name: str
    entry: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    policy: RestartPolicy | None = None
    mail_scope: str = ""


class AgentSet:
    """Holds many agents in one process: starts, stops and lists them, each under its own supervision.

    Args:
        parts: what they run on.
        registrar: registers them, by one timer for all; None: they are not registered (or ``parts.heartbeats`` does).
        dependencies: what their constructors may ask for, by name.
        policy: when a failed one is started again.
        sleep: waits between restarts.
        on_transition: called with every move of an agent between states.
    """

    def __init__(
        self,
        parts: RunnerParts,
        *,
        registrar: Registrar | None = None,
        dependencies: Mapping[str, object] | None = None,
        policy: RestartPolicy | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        on_transition: Callable[[Transition], None] | None = None,
    ) -> None:
        self._heartbeats: Heartbeats | None = None
        if registrar is not None:
            self._heartbeats = Heartbeats(registrar, clock=parts.clock)
            parts = replace(parts, heartbeats=self._heartbeats)
        self._parts = parts
        self._dependencies = dict(dependencies or {})
        self._policy = policy or RestartPolicy()
        self._sleep = sleep
        self._on_transition = on_transition
        self._agents: dict[str, AgentSupervisor] = {}

    def names(self) -> tuple[str, ...]:
        """Return the names of its agents, sorted."""
        return tuple(sorted(self._agents))

    @property
    def stop_within_s(self) -> float:
        """How long ``close`` may take."""
        return max((each.stop_within_s for each in self._agents.values()), default=0.0)

    async def start(self, spec: AgentSpec) -> AgentInfo:
        """Load, build and start an agent.

        Raises:
            AgentExists: there is one of this name.
            InvalidInput: it cannot be loaded or built; says what is wrong with it.
            Overloaded: there are 10,000 agents already.
        """
        agent_class = load_agent_class(spec.entry)

        def build() -> Agent:
            agent = build_agent(agent_class, spec.settings, self._dependencies)
            if spec.mail_scope:
                agent.mail_scope = spec.mail_scope
            return agent

        return await self.start_built(spec.name, build, spec=spec)

    async def start_built(
        self, name: str, build: Callable[[], Agent], *, spec: AgentSpec | None = None
    ) -> AgentInfo:
        """Start an agent that a function makes, anew for each restart; raises as ``start``."""
        if name in self._agents:
            raise AgentExists(
                f"There is an agent {name} in this process already.", "Stop it first, or restart it."
            )
        if NAME_REGEX.match(name) is None:
            raise InvalidInput(
                f"{name!r} is no name of an agent.", "Begin with a letter, then letters, digits, _ . or -."
            )
        if len(self._agents) >= MAX_AGENTS:
            raise Overloaded(
                f"This process holds {MAX_AGENTS} agents.", "Start the next one in another host."
            )
        supervisor = AgentSupervisor(
            name,
            build,
            self._parts,
            settings=spec.settings if spec else None,
            entry=spec.entry if spec else "",
            policy=(spec.policy if spec else None) or self._policy,
            sleep=self._sleep,
            on_transition=self._on_transition,
        )
        self._agents[name] = supervisor
        try:
            await supervisor.start()
        except BaseException:
            del self._agents[name]
            await supervisor.stop("could not start", drains=False)
            raise
        return await supervisor.info()

    async def stop(self, name: str, reason: str = "", *, drains: bool = True) -> StopReport:
        """Stop an agent, see ``AgentRunner.stop``, and forget it.

        Raises:
            AgentNotFound: there is none of this name.
        """
        report = await self._found(name).stop(reason, drains=drains)
        self._agents.pop(name, None)
        return report

    async def restart(self, name: str, reason: str = "") -> AgentInfo:
        """Start an agent anew; what is in its mailbox stays there.

        Raises:
            AgentNotFound: there is none of this name.
            ZejzlError: it cannot be built any more.
        """
        supervisor = self._found(name)
        await supervisor.restart(reason)
        return await supervisor.info()

    def pause(self, name: str, reason: str = "") -> None:
        """Let an agent take no more mail until ``resume``; raises AgentNotFound, or Conflict when it does not run."""
        self._found(name).pause(reason)

    def resume(self, name: str) -> None:
        """Let it take mail again; raises AgentNotFound, or Conflict when it is not paused."""
        self._found(name).resume()

    async def list(self) -> tuple[AgentInfo, ...]:
        """Return all agents with state, health and figures, by name."""
        return tuple(await asyncio.gather(*(self._agents[name].info() for name in self.names())))

    async def info(self, name: str) -> AgentInfo:
        """Return one of them; raises AgentNotFound."""
        return await self._found(name).info()

    def states(self) -> dict[str, LifeState]:
        """Return where each agent is in its life."""
        return {name: supervisor.lifecycle.state for name, supervisor in self._agents.items()}

    def heartbeat_ages_s(self) -> dict[str, float]:
        """Return how long ago the registry heard of each agent; without a registrar of none."""
        return {} if self._heartbeats is None else self._heartbeats.ages_s()

    async def health(self, name: str) -> AgentHealth:
        """Return how one of them is; raises AgentNotFound."""
        return await self._found(name).health()

    def undelivered(self, letter: DeadLetter) -> None:
        """Tell an agent of its mail that did not arrive; give it to ``DeadLetters.on_letter``."""
        supervisor = self._agents.get(letter.message.from_agent)
        if supervisor is not None:
            supervisor.undelivered(letter)

    async def close(self, reason: str = "its host stops") -> None:
        """Stop all agents side by side, each within its own time limit; safe to repeat."""
        await asyncio.gather(*(self.stop(name, reason) for name in self.names()), return_exceptions=True)
        if self._heartbeats is not None:
            await self._heartbeats.close()

    def _found(self, name: str) -> AgentSupervisor:
        supervisor = self._agents.get(name)
        if supervisor is None:
            known = self.names()
            raise AgentNotFound(
                f"There is no agent {name} in this process.",
                did_you_mean(name, known, f"There are: {', '.join(known[:20]) or 'none'}."),
            )
        return supervisor
