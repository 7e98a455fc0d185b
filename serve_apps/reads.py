"""Reads that a replica answers from its own copy of the registry, without a call.

Every answer names the revision of the copy and its age. ``min_revision`` lets a writer read its own write.
"""

from collections import Counter
from typing import Any

from pydantic import Field
from starlette.types import Receive, Scope, Send

from serve_apps.answer import Header, send_json
from serve_apps.endpoint import REVISION_HEADER
from serve_apps.middleware.request_scope import request_scope_of
from serve_apps.registry_replica import RegistryReplica
from serve_apps.request_parsing import build_request, min_revision_of, parse_query
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.contracts.orchestrator import ListAgents
from zejzl_ray.errors import MachineNotFound
from zejzl_ray.orchestrator.suggest import unknown_agent

_AGE_HEADER = b"x-registry-age-s"


class _Read:
    """What the reads share: parameters, ``min_revision``, headers."""

    def __init__(self, operation: Operation, replica: RegistryReplica) -> None:
        self._operation = operation
        self._replica = replica

    async def _request(self, scope: Scope) -> Contract:
        query = parse_query(scope)
        min_revision = min_revision_of(query)
        request_id = request_scope_of(scope).request_id
        model = build_request(self._operation, scope["path_params"], query, {}, request_id)
        if min_revision is not None:
            await self._replica.wait_for_revision(min_revision)
        return model

    def _headers(self) -> tuple[Header, Header]:
        replica = self._replica
        return ((REVISION_HEADER, b"%d" % replica.revision), (_AGE_HEADER, b"%.3f" % replica.staleness_s))


class GetAgentEndpoint(_Read):
    """One agent by name or alias; the most frequent request, so a plain one is answered without a model."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        name: str = scope["path_params"]["name"]
        body = None
        if not scope["query_string"]:
            body = self._replica.copy().body(name)
        if body is None:
            # a query, an unknown name, or a name that cannot be one
            await self._request(scope)
            copy = self._replica.copy()
            body = copy.body(name)
            if body is None:
                raise unknown_agent(name, copy.names)
        await send_json(send, 200, body, self._headers())


class ListAgentsEndpoint(_Read):
    """A page of agents."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        query = await self._request(scope)
        assert isinstance(query, ListAgents)
        await send_json(send, 200, self._replica.copy().page(query), self._headers())


class ListMachinesEndpoint(_Read):
    """All machines."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await self._request(scope)
        bodies = b",".join(body for _, body in self._replica.machines().values())
        await send_json(send, 200, b'{"machines":[%b]}' % bodies, self._headers())


class GetMachineEndpoint(_Read):
    """One machine."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await self._request(scope)
        found = self._replica.machines().get(scope["path_params"]["name"])
        if found is None:
            raise MachineNotFound(
                "path.name: no machine of this name.", "GET /v1/machines lists the machines."
            )
        await send_json(send, 200, found[1], self._headers())


class FleetMachine(Contract):
    """The agents of one machine; ``machine`` is empty for agents that name none."""

    machine: str
    is_alive: bool | None = Field(description="null: no machine of this name ever reported")
    agents: int
    by_state: dict[str, int]
    vram_mib: int = Field(description="video memory that its agents declare, MiB")


class FleetView(Contract):
    """The whole fleet at one revision, by machine."""

    agents: int
    by_state: dict[str, int]
    machines: tuple[FleetMachine, ...] = Field(description="by name, ascending")
    revision: int


class GetFleetEndpoint(_Read):
    """The counts of the fleet, from the copy."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await self._request(scope)
        view = fleet_view(self._replica)
        await send_json(send, 200, view.model_dump_json().encode(), self._headers())


def fleet_view(replica: RegistryReplica) -> FleetView:
    """Return the fleet by machine, from a replica's copy.

    Raises:
        ServiceUnavailable: the copy is too old.
    """
    machines = replica.machines()
    copy = replica.copy()
    states: dict[str, Counter[str]] = {name: Counter() for name in machines}
    vram_mib: Counter[str] = Counter()
    for agent in copy.agents():
        states.setdefault(agent.machine, Counter())[agent.state.value] += 1
        vram_mib[agent.machine] += agent.vram_mib
    total: Counter[str] = Counter()
    for counts in states.values():
        total.update(counts)

    def machine(name: str) -> FleetMachine:
        known: Any = machines.get(name)
        return FleetMachine(
            machine=name,
            is_alive=None if known is None else known[0].is_alive,
            agents=states[name].total(),
            by_state=dict(states[name]),
            vram_mib=vram_mib[name],
        )

    return FleetView(
        agents=len(copy),
        by_state=dict(total),
        machines=tuple(machine(name) for name in sorted(states)),
        revision=copy.revision,
    )
