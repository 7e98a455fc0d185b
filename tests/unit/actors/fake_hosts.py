"""Hosts of agents without Ray: which run, how they answer, and what was done to them."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import ray

from zejzl_ray.cluster.names import MACHINE_LABEL
from zejzl_ray.cluster.vram_placement import PlacedActor
from zejzl_ray.contracts import agent_host as wire
from zejzl_ray.contracts.agent_life import AgentHealth, AgentInfo, LifeState
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.health import Check, CheckStatus, ServiceHealth
from zejzl_ray.contracts.life import Stopped
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.contracts.orchestrator import HealthStatus
from zejzl_ray.errors import ServiceUnavailable, ZejzlError

NAMESPACE = "test"


def info(name: str, state: LifeState = LifeState.RUNNING, reason: str = "") -> AgentInfo:
    health = AgentHealth(agent=name, score=1, status=HealthStatus.HEALTHY)
    return AgentInfo(name=name, state=state, reason=reason, state_since_s=1, health=health)


class FakeHosts:
    """Stands for Ray's named actors, for the starters of hosts, and for the caller that reaches them.

    Attributes:
        digests: host -> its digest; those that Ray knows.
        agents: host -> its agents, where they are not one that runs.
        away: hosts that do not answer.
        alive: of those, hosts whose process runs all the same.
        log: what was done, in order.
        starts: called when a host is started.
        not_ready: why hosts are not ready, said once each.
    """

    def __init__(self) -> None:
        self.digests: dict[str, str] = {}
        self.agents: dict[str, tuple[AgentInfo, ...]] = {}
        self.away: set[str] = set()
        self.alive: set[str] = set()
        self.log: list[tuple[str, ...]] = []
        self.starts: Callable[[Any], None] = lambda options: None
        self.not_ready: list[ServiceHealth | ZejzlError] = []
        self.is_kill_late = False
        self.boots = 1
        self.totals = {"CPU": 8.0, "memory": 2.0**33, "camera": 1.0}
        self.caller = self

    # --- Ray ---

    def module(self) -> Any:
        """Return what stands for the module ``ray``."""
        named = SimpleNamespace(list_named_actors=lambda all_namespaces: self._named())
        return SimpleNamespace(
            util=named, get_actor=self.get_actor, kill=self.kill, nodes=self.nodes, exceptions=ray.exceptions
        )

    def _named(self) -> list[dict[str, str]]:
        others = [("agent_host:other", "elsewhere"), ("node_agent:pc2", NAMESPACE)]
        own = [(f"agent_host:{host}", NAMESPACE) for host in self.digests]
        return [{"name": name, "namespace": namespace} for name, namespace in (*own, *others)]

    def get_actor(self, name: str, namespace: str) -> str:
        host = name.removeprefix("agent_host:")
        if host not in self.digests:
            raise ValueError(name)
        return host

    def kill(self, handle: str, no_restart: bool = True) -> None:
        self.log.append(("kill" if no_restart else "renew", handle))
        self.boots += 1
        if no_restart and not self.is_kill_late:
            self.digests.pop(handle)

    def nodes(self) -> list[dict[str, Any]]:
        alive = {"Alive": True, "Labels": {MACHINE_LABEL: "mainpc"}, "Resources": self.totals}
        return [alive, {**alive, "Alive": False, "Labels": {MACHINE_LABEL: "pc2"}}]

    def list_placed(self) -> tuple[PlacedActor, ...]:
        return tuple(
            PlacedActor(f"agent_host:{host}", "AgentHostActor", "ALIVE", "mainpc", 0, "", 0.1, 1)
            for host in self.alive
        )

    # --- starters ---

    def start(self, options: Any, **asked: Any) -> None:
        self.log.append(("start", options.name))
        self.starts(options)
        self.digests[options.name] = options.digest

    # --- caller ---

    async def call(self, operation: Operation, request: Contract, call: CallContext) -> Contract:
        host = operation.service.removeprefix("agent_host:")
        if host in self.away or host not in self.digests:
            raise ServiceUnavailable(f"{operation.service} is away.")
        if operation.name == "stop":
            self.log.append(("stop", host))
            return Stopped()
        if operation.name == "start_agent":
            assert isinstance(request, wire.ControlAgent)
            self.log.append(("start_agent", host, request.name))
            return info(request.name)
        if operation.name == "health":
            said = (
                self.not_ready.pop(0)
                if self.not_ready
                else ServiceHealth(service="agent_host", is_ready=True)
            )
            if isinstance(said, ZejzlError):
                raise said
            return said
        agents = self.agents.get(host, (info("A"),))
        return wire.HeldAgents(
            host=host, machine="mainpc", boot=f"b{self.boots}", digest=self.digests[host], agents=agents
        )

    async def close(self) -> None: ...


def waiting(reason: str = "") -> ServiceHealth:
    """Return the health of a host that is not ready yet."""
    check = Check(name="directory", status=CheckStatus.DEGRADED, reason=reason)
    return ServiceHealth(service="agent_host", is_ready=False, checks=(check,))
