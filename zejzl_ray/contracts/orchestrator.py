"""core_orchestrator on the wire: the registry of agents and machines.

Commands are imperative, events past tense, states nouns. Times are wall time, seconds since the epoch.
"""

from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import Field, JsonValue, StringConstraints

from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.call import REQUEST_ID_PATTERN
from zejzl_ray.contracts.machines import Machine, ReportMachine
from zejzl_ray.contracts.operation import Operation, OperationsOf
from zejzl_ray.ids import NAME_PATTERN, new_id

SERVICE: Final = "core_orchestrator"

AgentName = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
RequestId = Annotated[str, StringConstraints(pattern=REQUEST_ID_PATTERN)]
Host = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:%\[\]-]{1,255}$")]
Port = Annotated[int, Field(ge=1, le=65535)]
Label = Annotated[str, StringConstraints(min_length=1, max_length=128)]
HeldBy = Annotated[str, StringConstraints(max_length=128)]

MAX_PAGE: Final = 1000
MAX_BULK: Final = 10_000


class AgentKind(StrEnum):
    """How an agent runs."""

    ACTOR = "actor"
    PROCESS = "process"
    EXTERNAL = "external"


class AgentState(StrEnum):
    """Where an agent is in its life; ``orchestrator/states.py`` holds the table of moves."""

    DECLARED = "declared"  # known from the fleet, never seen; not counted as lost
    STARTING = "starting"
    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"
    LOST = "lost"
    STOPPED = "stopped"


class Agent(Contract):
    """One registered agent, as the registry knows it."""

    name: AgentName
    agent_type: Label = "agent"
    kind: AgentKind
    machine: str = ""
    host: Host
    port: Port | None = None
    health_port: Port | None = None
    capabilities: tuple[Label, ...] = ()
    dependencies: tuple[AgentName, ...] = ()
    aliases: tuple[AgentName, ...] = ()
    vram_mib: int = 0
    metadata: dict[str, JsonValue] = Field(default_factory=dict)
    state: AgentState
    reason: str = Field(default="", description="why it is in this state")
    state_since_s: float
    registered_at_s: float
    last_seen_at_s: float | None = Field(
        default=None, description="last heartbeat or answered probe; null: never"
    )
    lease_s: float | None = Field(default=None, description="lease length; null: probed, not leased")
    lease_expires_at_s: float | None = None
    held_by: str = Field(
        default="", description="the process that keeps the name; empty: anybody may replace it"
    )
    is_declared: bool = Field(default=False, description="the fleet file names it")
    has_registered: bool = Field(default=True, description="false: known from the fleet file only")
    revision: int = Field(ge=1, description="registry revision of the last change; renewals do not raise it")


# --- commands and queries -------------------------------------------------------------------------------------------


class RegisterAgent(Contract):
    """Register an agent, or replace the record of the same name (the last write wins).

    An agent of kind external has no lease and is probed; the others renew within ``lease_s``.
    """

    request_id: RequestId = Field(default_factory=new_id)
    name: AgentName
    agent_type: Label = "agent"
    kind: AgentKind = AgentKind.EXTERNAL
    machine: Annotated[str, StringConstraints(max_length=128)] = ""
    host: Host = "127.0.0.1"
    port: Port | None = None
    health_port: Port | None = None
    capabilities: Annotated[tuple[Label, ...], Field(max_length=256)] = ()
    dependencies: Annotated[tuple[AgentName, ...], Field(max_length=256)] = ()
    aliases: Annotated[tuple[AgentName, ...], Field(max_length=64)] = ()
    vram_mib: Annotated[int, Field(ge=0, le=16_777_216)] = 0
    metadata: dict[str, JsonValue] = Field(
        default_factory=dict, description="free form, at most 16 KiB as JSON"
    )
    lease_s: Annotated[float, Field(gt=0, le=3600)] | None = Field(
        default=None, description="null: the default of the kind (30 s; external: none)"
    )
    is_new_required: bool = Field(default=False, description="refuse when the name is taken (AgentExists)")
    held_by: HeldBy = Field(
        default="",
        description="the process that keeps the name: until the agent is deregistered or its lease has run out, "
        "a registration that another process sends is refused (AgentHeld)",
    )


class RegisterAgents(Contract):
    """Register many agents in one commit: all or none."""

    request_id: RequestId = Field(default_factory=new_id)
    agents: Annotated[tuple[RegisterAgent, ...], Field(min_length=1, max_length=MAX_BULK)]


class AgentsRegistered(Contract):
    """Answer to a bulk registration."""

    created: int
    replaced: int
    unchanged: int
    revision: int


class DeclareFleet(Contract):
    """Tell the registry what the fleet file declares: unknown ones become ``declared``, live ones keep their state.

    Entries that an earlier fleet declared and this one does not, and that were never seen, are removed.
    """

    request_id: RequestId = Field(default_factory=new_id)
    source: str = Field(default="", description="file that it came from, for people")
    agents: Annotated[tuple[RegisterAgent, ...], Field(max_length=MAX_BULK)]


class FleetDeclared(Contract):
    """What loading a fleet changed."""

    added: int
    changed: int
    removed: int
    unchanged: int
    revision: int


class HealthStatus(StrEnum):
    """What an agent says of itself."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


class Heartbeat(Contract):
    """Renew an agent's lease and say how it is."""

    request_id: RequestId = Field(default_factory=new_id)
    name: AgentName
    status: HealthStatus = HealthStatus.HEALTHY
    reason: Annotated[str, StringConstraints(max_length=1024)] = ""
    held_by: HeldBy = Field(
        default="",
        description="the process that sends it; refused (AgentNotFound) where another keeps the name",
    )


class HeartbeatAccepted(Contract):
    """The lease is renewed; renew again within half of what is left."""

    name: str
    state: AgentState
    lease_expires_at_s: float | None
    revision: int


class UpdateAgent(Contract):
    """Change some fields of an agent; null leaves a field as it is."""

    request_id: RequestId = Field(default_factory=new_id)
    name: AgentName
    machine: Annotated[str, StringConstraints(max_length=128)] | None = None
    host: Host | None = None
    port: Port | None = None
    health_port: Port | None = None
    capabilities: Annotated[tuple[Label, ...], Field(max_length=256)] | None = None
    dependencies: Annotated[tuple[AgentName, ...], Field(max_length=256)] | None = None
    vram_mib: Annotated[int, Field(ge=0, le=16_777_216)] | None = None
    metadata: dict[str, JsonValue] | None = Field(default=None, description="replaces all metadata")
    expected_revision: int | None = Field(
        default=None, ge=1, description="refuse when the record changed since"
    )


class DeregisterAgent(Contract):
    """Remove an agent on purpose. A declared member of the fleet goes to ``stopped``, any other is forgotten."""

    request_id: RequestId = Field(default_factory=new_id)
    name: AgentName
    reason: Annotated[str, StringConstraints(max_length=1024)] = ""
    held_by: HeldBy = Field(
        default="", description="given: nothing happens where another process keeps the name"
    )


class AgentDeregistered(Contract):
    """The agent was removed (``was_known``), or was not there: repeating is safe."""

    name: str
    was_known: bool
    revision: int


class GetAgent(Contract):
    """Look an agent up by its name or an alias."""

    name: AgentName


class ListAgents(Contract):
    """List agents in the order of their names; all given filters must hold."""

    machine: str | None = None
    capability: str | None = None
    agent_type: str | None = None
    kind: AgentKind | None = None
    state: AgentState | None = None
    metadata_key: str | None = Field(default=None, description="has this metadata key")
    metadata_value: str | None = Field(default=None, description="... with this value, compared as text")
    cursor: Annotated[str, StringConstraints(max_length=256)] = Field(
        default="", description="next_cursor of the last page"
    )
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = 100


class AgentPage(Contract):
    """One page of agents; ``next_cursor`` is empty on the last one."""

    agents: tuple[Agent, ...]
    next_cursor: str = ""
    revision: int


class ExplainAgent(Contract):
    """Ask why an agent is in its state."""

    name: AgentName


class StateChange(Contract):
    """One move between states."""

    at_s: float
    from_state: AgentState | None
    to_state: AgentState
    reason: str
    revision: int


class AgentExplanation(Contract):
    """Why an agent is in its state: the reason, what counts towards the next move, and the last moves, newest first."""

    name: str
    state: AgentState
    reason: str
    since_s: float
    pending: str = Field(
        default="", description="what hysteresis is counting, for example '2 of 3 failed probes'"
    )
    changes: tuple[StateChange, ...] = ()


class AgentEvent(Contract):
    """One change of the registry, in the order of revisions."""

    kind: Literal["agent_registered", "agent_updated", "agent_state_changed", "agent_deregistered"]
    name: str
    revision: int
    at_s: float
    caused_by: str = Field(default="", description="request id of the command that led to it")
    agent: Agent | None = Field(description="the record after the change; null after deregistration")


class WatchAgents(Contract):
    """Wait for changes after ``from_revision``; 0 means from the oldest that is kept."""

    from_revision: int = Field(default=0, ge=0)
    timeout_s: Annotated[float, Field(ge=0, le=60)] = 20.0
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = MAX_PAGE


class WatchBatch(Contract):
    """Changes in order; empty when nothing happened within the time. Watch on from ``revision``."""

    events: tuple[AgentEvent, ...]
    revision: int


class GetHistory(Contract):
    """Read past changes, newest first; of one agent or of all."""

    name: AgentName | None = None
    before_revision: int | None = Field(default=None, ge=1)
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = 100


class History(Contract):
    """Past changes, newest first; ``oldest_kept_revision`` tells how far back the history goes."""

    events: tuple[AgentEvent, ...]
    oldest_kept_revision: int


class GetSnapshot(Contract):
    """Read the whole registry at one revision: what an ingress replica starts its copy from."""


class RegistrySnapshot(Contract):
    """All agents and machines at ``revision``."""

    agents: tuple[Agent, ...]
    machines: tuple[Machine, ...]
    revision: int
    boot: str = Field(
        description="changes at every start of the service; revisions never go back between boots"
    )


class GetMachine(Contract):
    """Look one machine up."""

    name: str


class ListMachines(Contract):
    """List all machines."""


class MachineList(Contract):
    """All machines that ever reported, in the order of their names."""

    machines: tuple[Machine, ...]


class GetRegistryStatus(Contract):
    """Ask for the counts."""


class RegistryStatus(Contract):
    """How many agents are in which state, and whether the protection holds the list."""

    agents: int
    by_state: dict[str, int]
    machines: int
    revision: int
    is_protected: bool = Field(
        description="too many were lost at once: nobody more is marked lost until it clears"
    )
    alarm: str = ""


class AcceptLosses(Contract):
    """Let the protection go: agents that it holds although they are silent are marked lost.

    For an operator who knows that so many are really gone. Safe to repeat.
    """

    request_id: RequestId = Field(default_factory=new_id)


_op: Final = OperationsOf(SERVICE)

_READ = "agents:read"
_WRITE = "agents:write"
_MACHINES_READ = "machines:read"
# what an agent may do to its own entry, a machine to its own report
_OWN_AGENT = ("agents:own", "name")
_OWN_MACHINE = ("machines:own", "snapshot.machine")

OPERATIONS: Final[tuple[Operation, ...]] = (
    _op("register_agent", RegisterAgent, Agent, _WRITE, "POST", "/v1/agents", status=201, own=_OWN_AGENT),
    _op("register_agents", RegisterAgents, AgentsRegistered, _WRITE, "POST", "/v1/agents/bulk"),
    _op("list_agents", ListAgents, AgentPage, _READ, "GET", "/v1/agents"),
    _op("get_agent", GetAgent, Agent, _READ, "GET", "/v1/agents/{name}"),
    _op("update_agent", UpdateAgent, Agent, _WRITE, "PATCH", "/v1/agents/{name}", own=_OWN_AGENT),
    _op(
        "deregister_agent",
        DeregisterAgent,
        AgentDeregistered,
        _WRITE,
        "DELETE",
        "/v1/agents/{name}",
        own=_OWN_AGENT,
    ),
    _op(
        "heartbeat",
        Heartbeat,
        HeartbeatAccepted,
        "agents:report",
        "POST",
        "/v1/agents/{name}/heartbeat",
        own=_OWN_AGENT,
    ),
    _op("explain_agent", ExplainAgent, AgentExplanation, _READ, "GET", "/v1/agents/{name}/explanation"),
    _op("watch_agents", WatchAgents, WatchBatch, _READ, "GET", "/v1/watch/agents"),
    _op("get_history", GetHistory, History, _READ, "GET", "/v1/history/agents"),
    _op("get_snapshot", GetSnapshot, RegistrySnapshot, _READ, "GET", "/v1/snapshot"),
    _op("get_registry_status", GetRegistryStatus, RegistryStatus, _READ, "GET", "/v1/registry"),
    _op("accept_losses", AcceptLosses, RegistryStatus, _WRITE, "POST", "/v1/registry/accept-losses"),
    _op("declare_fleet", DeclareFleet, FleetDeclared, "fleet:write", "PUT", "/v1/fleet"),
    _op(
        "report_machine",
        ReportMachine,
        Machine,
        "machines:report",
        "POST",
        "/v1/machines",
        own=_OWN_MACHINE,
    ),
    _op("list_machines", ListMachines, MachineList, _MACHINES_READ, "GET", "/v1/machines"),
    _op("get_machine", GetMachine, Machine, _MACHINES_READ, "GET", "/v1/machines/{name}"),
)
