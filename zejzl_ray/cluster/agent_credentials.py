"""The tokens of a host's agents: each agent is somebody, not its host."""

import asyncio
from collections.abc import Mapping, Sequence

from pydantic import JsonValue, SecretStr

from zejzl_ray.auth.authorised_caller import AuthorisedCaller
from zejzl_ray.auth.token_source import TokenSource
from zejzl_ray.clock import Clock
from zejzl_ray.cluster.core_orchestrator import CoreOrchestratorClient
from zejzl_ray.cluster.gateway_ports import GatewayIssuer
from zejzl_ray.cluster.mail_proofs import MailProofs, Remembers, Shown
from zejzl_ray.cluster.names import agent_host_name
from zejzl_ray.cluster.security_gateway import SecurityGatewayClient
from zejzl_ray.contracts.caller import Caller
from zejzl_ray.contracts.orchestrator import (
    AgentKind,
    DeregisterAgent,
    HealthStatus,
    Heartbeat,
    RegisterAgent,
)


class AgentCredentials:
    """Access tokens of agents, made from their credentials and renewed by themselves.

    Those for calls in an agent's name stay in this process; what other hosts are shown is made for each of them.

    Args:
        actors: calls that bring their own token.
        credentials: agent -> credential.
        clock: source of time.
        is_required: false leaves tokens out, where authentication is off.
        guard: hears of revocations, so that no revoked token is shown; None leaves that out.
    """

    def __init__(
        self,
        actors: Caller,
        credentials: Mapping[str, SecretStr],
        clock: Clock,
        *,
        is_required: bool = True,
        guard: Remembers | None = None,
    ) -> None:
        issuer = GatewayIssuer(SecurityGatewayClient(actors))
        self._proofs = MailProofs(issuer, credentials, clock, is_required=is_required, guard=guard)
        self._sources = {
            name: TokenSource(credential, issuer, clock) for name, credential in credentials.items()
        }
        self.callers: dict[str, Caller] = {
            name: AuthorisedCaller(actors, source) for name, source in self._sources.items()
        }

    async def proofs(self, agents: Sequence[str], host: str) -> Shown:
        """Return what a host is shown for these agents; one whose token cannot be had now is left out."""
        return await self._proofs.of(agents, host)

    async def close(self) -> None:
        """Stop renewing; safe to repeat."""
        await asyncio.gather(self._proofs.close(), *(source.close() for source in self._sources.values()))


class AgentRegistrar:
    """A ``Registrar`` of the agents' runner: each agent registers itself, under its own name.

    Args:
        host: name of the host, which keeps the agents' names as long as it renews their leases.
        callers: agent -> calls in its name.
        machine: where the host is.
        address: of that machine.
    """

    def __init__(self, host: str, callers: Mapping[str, Caller], machine: str, address: str) -> None:
        self._held_by = agent_host_name(host)
        self._clients = {name: CoreOrchestratorClient(caller) for name, caller in callers.items()}
        self._machine = machine
        self._address = address

    async def register(
        self, name: str, capabilities: tuple[str, ...], metadata: Mapping[str, JsonValue], lease_s: float
    ) -> object:
        """Register an agent, or renew the same registration."""
        return await self._clients[name].register_agent(
            RegisterAgent(
                name=name,
                kind=AgentKind.ACTOR,
                machine=self._machine,
                host=self._address,
                capabilities=capabilities,
                metadata=dict(metadata),
                lease_s=min(3600.0, max(1.0, lease_s)),
                held_by=self._held_by,
            )
        )

    async def heartbeat(self, name: str, status: HealthStatus, reason: str) -> object:
        """Renew the lease and say how the agent is."""
        return await self._clients[name].heartbeat(
            Heartbeat(name=name, status=status, reason=reason, held_by=self._held_by)
        )

    async def deregister(self, name: str) -> object:
        """Say that the agent has stopped."""
        return await self._clients[name].deregister_agent(
            DeregisterAgent(name=name, reason="its host stopped it", held_by=self._held_by)
        )
