"""Who listens on which port of which machine: the picture that the rules about ports share."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from zejzl_ray.fleet.drafts import Draft, FleetContext
from zejzl_ray.fleet.finding import Finding, Place
from zejzl_ray.fleet.model import AgentDeclaration, MachineDeclaration, ServiceDeclaration
from zejzl_ray.fleet.topology import DEFAULT_SERVICES

ANYWHERE = "0.0.0.0"  # noqa: S104  # nosec B104  # nothing is bound here: it is compared with what files say


@dataclass(frozen=True)
class Bind:
    """One port that somebody listens on.

    ``owner`` says in words who, ``name`` is the agent, service or machine; ``source`` is None for the ports
    of services that the files do not declare. ``is_bus`` marks a machine's error bus, ``is_service`` one of
    the five.
    """

    port: int
    host: str
    name: str
    owner: str
    field: str
    source: Draft[AgentDeclaration] | Draft[MachineDeclaration] | Draft[ServiceDeclaration] | None
    is_service: bool = False
    is_bus: bool = False

    @property
    def place(self) -> Place:
        """Where the port is written."""
        return (
            Place("")
            if self.source is None
            else self.source.where(self.field, f"{self.owner} on {self.port}")
        )

    @property
    def owner_and_place(self) -> str:
        """The owner, and where it says so."""
        return self.owner if self.source is None else f"{self.owner} at {self.place}"

    def is_clash(self, other: "Bind") -> bool:
        """Whether two processes cannot both listen: another owner, same port, addresses that overlap."""
        return (
            self.port == other.port
            and self.name != other.name
            and not _is_same_thing(self, other)
            and is_overlap(self.host, other.host)
        )


def binds_by_machine(context: FleetContext) -> dict[str, list[Bind]]:
    """Return what listens on each machine, in file order.

    An agent without a machine may be placed on any of them; a service counts at its home and at its fallback.
    """
    machines = dict.fromkeys(
        [
            *context.fleet.machines,
            *(
                draft.declaration.machine
                for draft in context.running_agents
                if draft.declaration.machine is not None
            ),
        ]
    )
    result: dict[str, list[Bind]] = defaultdict(list)
    for draft in context.running_agents:
        agent = draft.declaration
        for field, port, what in (
            ("port", agent.port, ""),
            ("health_port", agent.health_port, "'s health port"),
        ):
            if port is None or (field == "health_port" and port == agent.port):
                continue
            bind = Bind(port, agent.host, draft.name, f"{draft.name}{what}", field, draft)
            for machine in (agent.machine,) if agent.machine is not None else machines or ("",):
                result[machine].append(bind)
    for machine_draft in context.machines:
        bus_port = machine_draft.declaration.error_bus_port
        if bus_port is not None:
            name = machine_draft.name
            result[name].append(
                Bind(
                    bus_port,
                    ANYWHERE,
                    f"error bus of {name}",
                    f"the error bus of {name}",
                    "error_bus_port",
                    machine_draft,
                    is_bus=True,
                )
            )
    for machine, bind in _service_binds(context):
        result[machine].append(bind)
    return dict(result)


def _service_binds(context: FleetContext) -> Iterable[tuple[str, Bind]]:
    drafts = {draft.name: draft for draft in context.services}
    declared: Mapping[str, ServiceDeclaration] = {**DEFAULT_SERVICES, **context.fleet.services}
    for name, service in declared.items():
        for machine in dict.fromkeys((service.home, service.fallback)):
            if machine is None:
                continue
            why = "" if machine == service.home else f", which may run on {machine}"
            owner = f"the service {name}{why}"
            yield (
                machine,
                Bind(service.port, ANYWHERE, name, owner, "port", drafts.get(name), is_service=True),
            )


def clashes(binds: Sequence[Bind]) -> list[tuple[Bind, ...]]:
    """Return, port by port, the binds that clash with at least one other."""
    by_port: dict[int, list[Bind]] = defaultdict(list)
    for bind in binds:
        by_port[bind.port].append(bind)
    found = []
    for group in by_port.values():
        clashing = tuple(
            bind for bind in group if any(bind.is_clash(other) for other in group if other is not bind)
        )
        if clashing:
            found.append(clashing)
    return found


def report_at(binds: Sequence[Bind]) -> Bind:
    """Return the bind at which a clash is reported: the last one that the files write down."""
    return [bind for bind in binds if bind.source is not None][-1]


def is_overlap(first: str, second: str) -> bool:
    """Whether two addresses of one machine share a socket: every address overlaps with all of them."""
    one, two = _normal(first), _normal(second)
    return ANYWHERE in (one, two) or one == two


def _normal(host: str) -> str:
    host = host.strip().strip("[]").lower()
    if host in ("", "*", "::", ANYWHERE):
        return ANYWHERE
    if host == "localhost":
        return "127.0.0.1"
    try:
        address = ip_address(host)
    except ValueError:
        return host
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def _is_same_thing(first: Bind, second: Bind) -> bool:
    """Whether two owners are one: an old agent is the forerunner of the service of its name, or the bus."""
    for one, two in ((first, second), (second, first)):
        if one.is_service and not two.is_service and _stem(one.name) == _stem(two.name):
            return True
        if one.is_bus and "errorbus" in _stem(two.name):
            return True
    return False


def _stem(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "").removesuffix("suite").removesuffix("agent")


def finding_at(bind: Bind, code: str, message: str, remedy: str, related: tuple[Place, ...]) -> Finding:
    """Return an error at the place of a bind."""
    source = bind.source
    assert source is not None  # report_at chooses one that is written down
    return source.error(code, bind.field, message, remedy, subject=str(bind.port), related=related)
