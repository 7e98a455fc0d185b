"""The fleet as one schema sees it: machines, services, hosts and agents, whatever file they came from."""

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from zejzl_ray.ids import NAME_PATTERN

SCHEMA = "zejzl.fleet/1"


class FleetModel(BaseModel):
    """Base of the fleet's models: frozen; what a reader does not know is reported by the validator, not here."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class AgentKind(StrEnum):
    """How an agent runs: inside Ray, as a supervised process, or as a program that somebody else starts."""

    ACTOR = "actor"
    PROCESS = "process"
    EXTERNAL = "external"


class Needs(FleetModel):
    """What an agent asks of the machine it is placed on."""

    vram_mib: int = Field(default=0, ge=0, description="video memory on one card, MiB")
    cpus: float = Field(default=0, ge=0, description="CPU cores, as Ray counts them")
    memory_mib: int = Field(default=0, ge=0, description="main memory, MiB")


class HostDeclaration(FleetModel):
    """A process that holds agents, so that those who talk much are neighbours."""

    name: str = Field(pattern=NAME_PATTERN)
    machine: str = Field(description="where it runs")
    cpus: float = Field(default=0.1, ge=0, description="CPU cores that it asks of Ray")
    vram_mib: int = Field(default=0, ge=0, description="video memory on one card, MiB; 0: it sees no need")
    memory_mib: int = Field(default=0, ge=0, description="main memory that it asks of Ray, MiB")
    resources: dict[str, float] = Field(default_factory=dict, description="other resources of Ray")
    path: tuple[str, ...] = Field(
        default=(),
        description="folders with the modules of its agents; a relative one begins at the fleet file's folder",
    )


class AgentDeclaration(FleetModel):
    """One declared member of the fleet."""

    name: str = Field(pattern=NAME_PATTERN)
    kind: AgentKind = AgentKind.EXTERNAL
    machine: str | None = Field(default=None, description="machine it is tied to; null: placed by its needs")
    agent_host: str | None = Field(
        default=None, description="host of the section hosts that runs it; kind actor, entry module:Class"
    )
    mail_scope: str | None = Field(
        default=None,
        description="senders of other hosts need mail:<mail_scope>:write; null: as its class says",
    )
    group: str | None = Field(default=None, description="free grouping, kept from the old files")
    entry: str | None = Field(
        default=None, description="script path (process, external) or module:Class (actor)"
    )
    host: str = Field(
        default="0.0.0.0",  # noqa: S104  # nosec B104  # what the old agents bind; nothing is bound here
        description="address it binds; 0.0.0.0 is every address of the machine",
    )
    port: int | None = Field(default=None, ge=1, le=65535)
    health_port: int | None = Field(default=None, ge=1, le=65535)
    required: bool = Field(default=True, description="the fleet is not complete without it")
    dependencies: tuple[str, ...] = Field(
        default=(), description="names of agents or services, started before it"
    )
    capabilities: tuple[str, ...] = ()
    aliases: tuple[str, ...] = Field(
        default=(), description="other names the registry resolves to this agent"
    )
    needs: Needs = Needs()
    environment: dict[str, str] = Field(default_factory=dict)
    config: dict[str, Any] = Field(
        default_factory=dict, description="the agent's own settings, handed to it unchanged"
    )
    extras: dict[str, Any] = Field(
        default_factory=dict, description="fields of an old file that have no home here"
    )


class ServiceDeclaration(FleetModel):
    """One of the five services: where it lives, and the old names that now mean it."""

    name: str
    home: str
    fallback: str | None = None
    port: int = Field(ge=1, le=65535, description="its health and metrics port at the machine where it lives")
    dependencies: tuple[str, ...] = ()
    aliases: tuple[str, ...] = Field(default=(), description="names of the old agents that it replaces")


class GpuDeclaration(FleetModel):
    """A card that the owner declares, where NVML does not tell."""

    name: str
    vram_mib: int = Field(gt=0)


class MachineDeclaration(FleetModel):
    """One machine, and what the old file said for all of its agents."""

    name: str
    address: str | None = Field(default=None, description="host name or IP; null: found through Ray")
    gpus: tuple[GpuDeclaration, ...] = ()
    groups: tuple[str, ...] = Field(default=(), description="agent groups in file order, empty ones too")
    environment: dict[str, str] = Field(default_factory=dict)
    resource_limits: dict[str, Any] = Field(default_factory=dict)
    health_checks: dict[str, Any] = Field(default_factory=dict)
    volumes: tuple[dict[str, Any], ...] = ()
    network: dict[str, Any] = Field(default_factory=dict)
    error_bus_port: int | None = Field(default=None, ge=1, le=65535)
    extras: dict[str, Any] = Field(default_factory=dict)


class Fleet(FleetModel):
    """Everything a startup configuration declares, after expressions and overlays."""

    machines: dict[str, MachineDeclaration] = Field(default_factory=dict)
    services: dict[str, ServiceDeclaration] = Field(default_factory=dict)
    hosts: dict[str, HostDeclaration] = Field(default_factory=dict)
    agents: dict[str, AgentDeclaration] = Field(default_factory=dict)
