"""What was found out about the machines of a cluster, before anybody judges it; holds no secret."""

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from zejzl_ray.cluster_file.model import ClusterFile, DeclaredMachine


class Facts(BaseModel):
    """Base of all facts: frozen; a field that is not known is left out, since another version may have answered."""

    model_config = ConfigDict(frozen=True, extra="ignore")


def first_fault(error: ValidationError) -> str:
    """Return the first thing that is wrong, in one line: place and what."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {first['msg']}" if place else str(first["msg"])


class Phase(StrEnum):
    """Whether the cluster has been started."""

    BEFORE = "before"
    AFTER = "after"


class Command(Facts):
    """A program of the project: where it is, which version it says it is; None when it is not there."""

    path: str | None = None
    version: str | None = None
    said: str = ""


class Programs(Facts):
    """Programs as `ray up` would find them."""

    rsync: str | None = None
    ray: Command = Command()
    zejzl: Command = Command()


class Gpus(Facts):
    """NVIDIA cards: how many are plugged in, and what ``nvidia-smi`` names."""

    plugged: int = 0
    driver: str | None = None
    error: str | None = None
    cards: tuple[dict[str, str], ...] = ()


class Disk(Facts):
    """Room in one place that a node writes to; with ``error`` nobody could look."""

    use: str
    path: str
    device: int = 0
    free_mib: float = 0.0
    total_mib: float = 0.0
    free_inodes: int | None = None
    is_writable: bool = True
    is_directory: bool = True
    error: str = ""


class SecretFile(Facts):
    """One shared secret; ``digest`` is keyed and says no more than whether two files hold the same."""

    path: str = ""
    state: str = Field(default="missing", description="present, missing, empty or unreadable")
    mode: int | None = None
    digest: str | None = None
    is_own: bool = True


class KeyFile(Facts):
    """The private key beside a certificate."""

    path: str
    mode: int
    is_own: bool = True
    fits: bool | None = None
    error: str | None = Field(default=None, description="why it cannot be read")


class TlsFiles(Facts):
    """Certificates of a machine, PEM; None where there is none."""

    directory: str = ""
    ca: str | None = None
    certificate: str | None = None
    key: KeyFile | None = None
    own_name: str | None = Field(default=None, description="the machine that the directory says it is of")
    errors: dict[str, str] = Field(default_factory=dict, description="file -> why it cannot be read")


class RayProcess(Facts):
    """A raylet or control store; ``state`` as the kernel writes it, T for stopped."""

    name: str
    pid: int
    state: str
    shared_mib: float | None = Field(default=None, description="shared memory that it has taken by now")

    @property
    def is_frozen(self) -> bool:
        """Whether it is there, but stopped where it stands."""
        return self.state in ("T", "t")


class RecordedPlan(Facts):
    """What is relied on of the plan in ``node.json``."""

    cluster_id: str = ""
    role: str = ""
    head_address: str = ""
    node_ip: str = ""
    redis_address: str | None = None
    tls: dict[str, Any] | None = None
    ports: dict[str, int | tuple[int, int] | None] = Field(default_factory=dict)


class NodeRecord(Facts):
    """What is relied on of ``node.json``."""

    node: RecordedPlan
    state: str = ""
    note: str = ""


class NodeFacts(Facts):
    """The Ray node of a machine: its record, whether its supervisor lives, its processes, the ends of its logs."""

    record: dict[str, Any] | None = Field(default=None, description="None: there is none, or it is damaged")
    record_fault: str | None = Field(default=None, description="what is wrong with node.json")
    record_age_s: float | None = Field(default=None, description="since the record was last written")
    is_wanted: bool | None = Field(default=None, description="whether a node shall run; None: nobody knows")
    is_supervised: bool | None = Field(
        default=False, description="whether its supervisor lives; None: nobody knows"
    )
    frozen_supervisor: int | None = Field(default=None, description="its process, if it is stopped")
    processes: tuple[RayProcess, ...] = ()
    logs: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _drop_damaged(cls, found: Any) -> Any:
        """A record of another shape is none, and why is kept: everybody below relies on the shape."""
        if not isinstance(found, dict) or found.get("record") is None:
            return found
        try:
            NodeRecord.model_validate(found["record"])
        except ValidationError as error:
            return {**found, "record": None, "record_fault": first_fault(error)}
        return found

    @property
    def state(self) -> str:
        """What the record says: starting, up, stopped, failed; empty without a record."""
        return str((self.record or {}).get("state") or "")

    @property
    def note(self) -> str:
        """Why, as far as the supervisor knew."""
        return str((self.record or {}).get("note") or "")

    @property
    def cluster_id(self) -> str:
        """Of which cluster the node is."""
        return str(((self.record or {}).get("node") or {}).get("cluster_id") or "")

    @property
    def is_head(self) -> bool:
        """Whether it is, or is about to be again, the head: it was started as such, or has taken over."""
        role = ((self.record or {}).get("node") or {}).get("role")
        return self.process("gcs_server") is not None or (self.is_supervised is True and role == "head")

    @property
    def redis_url(self) -> str:
        """Where the head that runs here has its state; empty elsewhere."""
        plan = (self.record or {}).get("node") or {}
        return str(plan.get("redis_address") or "") if self.is_head else ""

    def process(self, name: str) -> RayProcess | None:
        """Return the raylet or control store if it lives."""
        return next((found for found in self.processes if found.name == name and found.state != "Z"), None)


class OwnFacts(Facts):
    """What a machine says about itself."""

    host: str = ""
    python: str = ""
    data_dir: str = ""
    release: str | None = Field(default=None, description="the current one; None: none is installed")
    boot_age_s: float | None = None
    open_files: int | None = Field(default=None, description="how many a process may open; -1: any number")
    settings: dict[str, str] = Field(
        default_factory=dict, description="what counts there: exported, or set by the start command"
    )
    unknown_settings: tuple[str, ...] = Field(default=(), description="exported names that are no setting")
    failed: dict[str, str] = Field(default_factory=dict, description="what nobody could look at -> why")
    programs: Programs = Programs()
    gpus: Gpus = Gpus()
    disks: tuple[Disk, ...] = ()
    secrets: dict[str, SecretFile] = Field(default_factory=dict)
    tls: TlsFiles = TlsFiles()
    node: NodeFacts = NodeFacts()


class Clock(Facts):
    """How far a clock is ahead of the one here, and how wrong that can be: half the time that asking took."""

    ahead_s: float
    uncertainty_s: float


class SshFault(Facts):
    """Why a machine could not be asked; ``cause`` is a stable word."""

    cause: str
    what: str
    remedy: str


class PortAnswer(Facts):
    """What became of listening on a port: listening, taken, refused."""

    state: str
    port: int = 0
    holder: dict[str, Any] | None = None
    error: str | None = None


class SentinelAnswer(Facts):
    """What one Sentinel says: well, unknown (no such primary), password, silent."""

    address: str
    state: str
    error: str | None = None


class RedisAnswer(Facts):
    """What became of a log-in to Redis: well, password, tls, refused, timeout, loading, no client, sentinel, error.

    None stands for what nobody may ask.
    """

    state: str
    error: str | None = None
    version: str | None = None
    role: str | None = None
    primary: str | None = Field(default=None, description="host that a replica follows")
    has_password: bool = True
    is_appending: bool = True
    append_error: bool = False
    is_linked: bool | None = Field(default=None, description="a replica's: whether it hears from its primary")
    replicas: int | None = Field(default=None, description="that have everything but the last moments")
    fsync: str | None = Field(default=None, description="appendfsync")
    eviction: str | None = Field(default=None, description="maxmemory-policy")
    memory_ratio: float | None = Field(default=None, description="used, of maxmemory; None: without a bound")
    knows_ray: bool | None = Field(default=None, description="whether Ray's own user is let in, with TLS")
    sentinels: tuple[SentinelAnswer, ...] = ()
    meant_to_follow: str = Field(default="", description="what redis_role.conf says: host:port")


class MachineFacts(Facts):
    """One machine: what kept us from asking it, or what it answered."""

    machine: DeclaredMachine
    is_head: bool = Field(description="whether it is the head now; before the start, as declared")
    addresses: tuple[str, ...] = Field(default=(), description="what its name resolves to here")
    ssh_fault: SshFault | None = None
    own: OwnFacts | None = None
    clock: Clock | None = None
    shell_clock: Clock | None = None
    redis: RedisAnswer | None = None
    replica: RedisAnswer | None = Field(
        default=None, description="its own Redis, where that is meant to follow another"
    )
    local_ports: dict[int, PortAnswer] = Field(default_factory=dict, description="on loopback")
    outer_ports: dict[int, PortAnswer] = Field(default_factory=dict, description="on the machine's address")
    unanswered: dict[str, str] = Field(default_factory=dict, description="question -> why there is no answer")


class Link(Facts):
    """One connection that was tried from machine to machine.

    ``state``: open, refused, timeout, unresolved, error. ``greeted_by`` is the machine that answered; empty when
    nobody was to greet, or something else did.
    """

    source: str
    target: str
    port: int
    what: str
    state: str
    is_greeting_expected: bool = False
    greeted_by: str = ""
    error: str | None = None


class RayNode(Facts):
    """One node as the head lists it."""

    node_id: str = ""
    node_ip: str = ""
    state: str = ""
    state_message: str | None = None
    labels: dict[str, str] | None = None
    end_time_ms: float | None = None


class RayAnswer(Facts):
    """The head's list of nodes; None when its dashboard did not say."""

    nodes: tuple[RayNode, ...] | None = None
    error: str | None = None
    is_token_refused: bool = False


class ServicesAnswer(Facts):
    """What ``zejzl status --json`` said at the head."""

    status: dict[str, Any] | None = None
    error: str | None = None


class ReleaseHere(Facts):
    """What `ray up` would carry: a release, or why there is none."""

    id: str = ""
    python: str = ""
    fault: str = ""


class Here(Facts):
    """The computer that asks: one of the machines (its name), or another; what `ray up` needs of it."""

    machine: str = ""
    has_rsync: bool = True
    unmounted: dict[str, str] = Field(
        default_factory=dict, description="source of file_mounts -> why it cannot be copied"
    )
    secret_digests: dict[str, str] = Field(default_factory=dict, description="name -> keyed digest")
    release: ReleaseHere | None = Field(default=None, description="None: the file carries none")
    redis_url: str = Field(default="", description="of the store, without a password; empty: none on Redis")


class ClusterFacts(Facts):
    """Everything that the checks judge."""

    cluster: ClusterFile
    phase: Phase
    now_s: float
    machines: tuple[MachineFacts, ...]
    here: Here = Here()
    links: tuple[Link, ...] = ()
    ray: RayAnswer | None = None
    services: ServicesAnswer | None = None
    fleet_gpus: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="machine -> declared cards"
    )

    @property
    def head(self) -> MachineFacts:
        """The head, which after a takeover is not the one that the file declares."""
        return next((machine for machine in self.machines if machine.is_head), self.machines[0])

    def knowing(self, part: str) -> tuple[tuple[MachineFacts, OwnFacts], ...]:
        """Return those that could look at one part of themselves, and what they say."""
        return tuple(
            (machine, machine.own)
            for machine in self.machines
            if machine.own is not None and part not in machine.own.failed
        )

    @property
    def answering(self) -> tuple[MachineFacts, ...]:
        """Those that could be asked."""
        return tuple(machine for machine in self.machines if machine.own is not None)

    def named(self, name: str) -> MachineFacts | None:
        """Return the machine of that name."""
        return next((found for found in self.machines if found.machine.name == name), None)
