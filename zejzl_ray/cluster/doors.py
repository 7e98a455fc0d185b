"""The list of every door: what of the system listens, where, and who may use it.

It is data. What listens and is not on it, or listens wider than it says, is a mistake: `zejzl doors` shows it in red,
and a test of the live system fails. Whoever opens a new door writes its row here first.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatch
from typing import Final

from zejzl_ray.cluster.listeners import Listener, ProcessKind, Reach, Transport


class Proof(StrEnum):
    """What a caller has to show."""

    ACCESS_TOKEN = "access token"  # noqa: S105  a word, not a secret
    RAY_TOKEN = "Ray token"  # noqa: S105
    OWNER = "being the owner of the file"
    PASSWORD = "certificate and password"  # noqa: S105
    NOTHING = "nothing"
    NOBODY = "nobody is served"


class Speaks(StrEnum):
    """What is spoken at a door."""

    HTTP = "HTTP"
    GRPC = "gRPC"
    OTHER = "own protocol"


@dataclass(frozen=True, slots=True)
class Setup:
    """What differs from system to system.

    Attributes:
        bind_host: address of the ingress, beside loopback.
        http_port: port of the ingress.
        gcs_port: port of Ray's control store; 0 when any will do.
        dashboard_port: port of Ray's dashboard; 0 when any will do.
        is_one_machine: whether the whole system is on one machine.
        metrics_ports: ports of Ray's pages of figures; empty where they are not asked for.
    """

    bind_host: str = "127.0.0.1"
    http_port: int = 0
    gcs_port: int = 0
    dashboard_port: int = 0
    is_one_machine: bool = True
    metrics_ports: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Door:
    """One way in.

    Attributes:
        name: short, unique.
        kind: which processes have it; None: a program that the system uses but does not start.
        where: port or path, and the setting that moves it.
        address: on which it listens unless told otherwise.
        proof: what a caller has to show.
        who: who may use it, and for what.
        note: how it is closed further, and what stays open.
        speaks: what is spoken there.
        transport: what kind of socket it is.
        reaches: how wide it may be.
        is_between_machines: whether it stays on loopback on one machine; between several it is as wide as ``reaches``.
        follows_bind_host: whether it listens on ``ZEJZL_BIND_HOST`` too.
        is_ipv6: True or False where that tells it from another door of the same process.
        port: attribute of :class:`Setup` with its port or ports; empty for any port.
        is_asked_for: whether it is there only where a setting asks for it.
        path: pattern of its socket file.
        at_most: how many of it one process has; one more is not this door.
        tried: paths of HTTP or methods of gRPC that must refuse who has no proof; one of them for each gRPC server.
    """

    name: str
    kind: ProcessKind | None
    where: str
    address: str
    proof: Proof
    who: str
    note: str = ""
    speaks: Speaks = Speaks.OTHER
    transport: Transport = Transport.TCP
    reaches: frozenset[Reach] = frozenset({Reach.LOOPBACK})
    is_between_machines: bool = False
    follows_bind_host: bool = False
    is_ipv6: bool | None = None
    port: str = ""
    is_asked_for: bool = False
    path: str = ""
    at_most: int = 1
    tried: tuple[str, ...] = field(default=())

    @property
    def listens(self) -> str:
        """What listens there, for a person."""
        return "a program beside the system" if self.kind is None else str(self.kind)

    @property
    def is_guarded(self) -> bool:
        """Whether a caller has to show something."""
        return self.proof is not Proof.NOTHING

    def matches(self, listener: Listener, setup: Setup) -> bool:
        """Return whether the socket is this door, and no wider than it may be."""
        if (listener.kind, listener.transport) != (self.kind, self.transport):
            return False
        if self.transport is Transport.FILE:
            return fnmatch(listener.address, self.path)
        ports = self._ports(setup)
        if listener.port not in ports if ports else self.is_asked_for:
            return False
        if self.is_ipv6 is not None and listener.is_ipv6 is not self.is_ipv6:
            return False
        reaches = (
            frozenset({Reach.LOOPBACK}) if self.is_between_machines and setup.is_one_machine else self.reaches
        )
        return listener.reach in reaches or (self.follows_bind_host and listener.address == setup.bind_host)

    def _ports(self, setup: Setup) -> tuple[int, ...]:
        found: int | tuple[int, ...] = getattr(setup, self.port) if self.port else ()
        return found if isinstance(found, tuple) else (found,) if found else ()


@dataclass(frozen=True, slots=True)
class OpenDoor:
    """A socket that listens now, and its row of the list; None: it is not on the list, or wider than it may be."""

    listener: Listener
    door: Door | None


def match_doors(listeners: Iterable[Listener], setup: Setup) -> tuple[OpenDoor, ...]:
    """Return each socket with its door. A process with more sockets than its doors allow has some without a door."""
    used: Counter[tuple[int, str]] = Counter()
    found: list[OpenDoor] = []
    for listener in listeners:
        door = next(
            (
                door
                for door in DOORS
                if door.matches(listener, setup) and used[listener.pid, door.name] < door.at_most
            ),
            None,
        )
        if door is not None:
            used[listener.pid, door.name] += 1
        found.append(OpenDoor(listener, door))
    return tuple(found)


_ANYWHERE: Final = frozenset({Reach.LOOPBACK, Reach.ONE_ADDRESS, Reach.ALL})
_NEAR: Final = frozenset({Reach.LOOPBACK, Reach.ONE_ADDRESS})
_FILE: Final = frozenset({Reach.FILE})
_FREE: Final = "any free one on one machine"
_ONE_OR_ALL: Final = "127.0.0.1; all interfaces between machines"
_ONE_OR_BOTH: Final = "127.0.0.1; the machine's address too between machines"
_ONE_OR_OWN: Final = "127.0.0.1; the machine's address between machines"
_RAY_NOTE: Final = (
    "On loopback when the system is on one machine; between machines Ray listens on all interfaces whatever address it "
    "is told, and TLS asks for a certificate of the cluster's authority too. Its health check says without proof that "
    "it lives."
)
_PUSH_TASK: Final = "/ray.rpc.CoreWorkerService/PushTask"
# On one machine nothing tells the two servers of a host of agents apart from outside.
_OF_HOST: Final = ("/zejzl.agent_host/deliver_mail", _PUSH_TASK)
DOORS: Final[tuple[Door, ...]] = (
    Door(
        "ingress", ProcessKind.PROXY, "ZEJZL_HTTP_PORT (7000)", "127.0.0.1", Proof.ACCESS_TOKEN,
        "everybody with a token, within its scopes",
        "ZEJZL_BIND_HOST opens it further, with HTTPS only. Without a token: /healthz, the public keys, and the routes "
        "that give tokens for other proof; address lists and rates of the policy count there too.",
        Speaks.HTTP, follows_bind_host=True, port="http_port", at_most=2, tried=("/v1/agents", "/metrics", "/readyz"),
    ),
    Door(
        "proxy control", ProcessKind.PROXY, "admin.sock in HAProxy's own directory", "socket file", Proof.OWNER,
        "Ray Serve, to change the list of replicas", "The directory has mode 0700.",
        transport=Transport.FILE, reaches=_FILE, path="*/admin.sock*", at_most=2,
    ),
    Door(
        "proxy log", ProcessKind.PROXY, "any free port", "all interfaces", Proof.NOBODY,
        "nobody: HAProxy sends its log from here to this machine's syslog", "HAProxy has shut its receiving side.",
        transport=Transport.UDP, reaches=frozenset({Reach.ALL}), at_most=2,
    ),
    Door(
        "ingress replica", ProcessKind.REPLICA, "a free port from 30000 on", "127.0.0.1", Proof.ACCESS_TOKEN,
        "HAProxy; whoever else calls needs the same token as at the ingress",
        "", Speaks.HTTP, is_ipv6=False, tried=("/v1/agents", "/metrics", "/readyz"),
    ),
    Door(
        "replica control", ProcessKind.REPLICA, "replica-*.sock in HAProxy's own directory", "socket file", Proof.OWNER,
        "nobody: Serve's gRPC server unpickles what it is sent, without a token",
        "Serve would open a port of all interfaces; here it is a socket file in a directory of mode 0700.",
        transport=Transport.FILE, reaches=_FILE, path="*/replica-*.sock",
    ),
    Door(
        "fallback proxy", ProcessKind.FALLBACK_PROXY, "any free port", "127.0.0.1", Proof.ACCESS_TOKEN,
        "HAProxy, while no replica is there; whoever else calls needs the same token as at the ingress",
        "", Speaks.HTTP, is_ipv6=False, tried=("/v1/agents", "/metrics", "/readyz"),
    ),
    Door(
        "health ports", ProcessKind.SERVICE,
        "ZEJZL_RESOURCE_MANAGER_PORT (7001), ZEJZL_OBSERVABILITY_PORT (7002), ZEJZL_ERROR_BUS_PORT (7003), "
        "ZEJZL_SECURITY_PORT (7005)",
        "127.0.0.1", Proof.ACCESS_TOKEN, "monitoring: /readyz and /metrics, for principals that may read them",
        "/healthz says without proof that the service lives. Without HTTPS, so loopback whatever ZEJZL_BIND_HOST says.",
        Speaks.HTTP, is_ipv6=False, tried=("/metrics", "/readyz"),
    ),
    Door(
        "control store", ProcessKind.CONTROL_STORE, "ZEJZL_RAY_PORT (any free port; 6379 between machines)",
        _ONE_OR_ALL, Proof.RAY_TOKEN,
        "Ray's own processes, and programs that the owner connects to Ray",
        _RAY_NOTE, Speaks.GRPC, reaches=_ANYWHERE, is_between_machines=True, port="gcs_port",
        tried=("/ray.rpc.NodeInfoGcsService/GetAllNodeInfo",),
    ),
    Door(
        "raylet", ProcessKind.RAYLET, "ZEJZL_RAY_NODE_MANAGER_PORT (20001) for work, "
        f"ZEJZL_RAY_OBJECT_MANAGER_PORT (20002) for objects; {_FREE}", _ONE_OR_ALL, Proof.RAY_TOKEN,
        "Ray's own processes", _RAY_NOTE, Speaks.GRPC, reaches=_ANYWHERE, is_between_machines=True, at_most=2,
        tried=("/ray.rpc.NodeManagerService/GetNodeStats", "/ray.rpc.ObjectManagerService/Push"),
    ),
    Door(
        "raylet files", ProcessKind.RAYLET, "sockets/raylet*, sockets/plasma_store* in Ray's own directory",
        "socket file", Proof.OWNER, "Ray's workers", "The directory above has mode 0700.",
        transport=Transport.FILE, reaches=_FILE, path="*/sockets/*", at_most=2,
    ),
    Door(
        "mail", ProcessKind.AGENT_HOST, f"ZEJZL_MAIL_PORTS (7600-7699); {_FREE}", _ONE_OR_OWN,
        Proof.ACCESS_TOKEN, "other hosts of agents: batches of mail over a connection that they have opened",
        "Between machines a peer without a certificate of the cluster's authority is refused before.",
        Speaks.GRPC, reaches=_NEAR, is_between_machines=True, tried=_OF_HOST,
    ),
    *(
        Door(
            f"calls of {whose}", kind, f"a free port of ZEJZL_RAY_WORKER_PORTS (20100-20999); {_FREE}",
            _ONE_OR_ALL, Proof.RAY_TOKEN,
            "Ray's own processes: calls of actors and tasks come in here",
            f"{_RAY_NOTE} A program that connects to Ray opens one too, while it is connected.",
            Speaks.GRPC, reaches=_ANYWHERE, is_between_machines=True, is_ipv6=True,
            tried=_OF_HOST if kind is ProcessKind.AGENT_HOST else (_PUSH_TASK,),
        )
        for whose, kind in (
            ("services", ProcessKind.SERVICE),
            ("ingress replicas", ProcessKind.REPLICA),
            ("Serve's proxy", ProcessKind.FALLBACK_PROXY),
            ("hosts of agents", ProcessKind.AGENT_HOST),
            ("other actors", ProcessKind.WORKER),
        )
    ),
    Door(
        "Ray client", ProcessKind.CLIENT_SERVER, f"ZEJZL_RAY_CLIENT_PORT (10001) at the head; {_FREE}", _ONE_OR_BOTH,
        Proof.RAY_TOKEN, "programs of the owner that use ray://", "Ray cannot do without it.", Speaks.GRPC,
        reaches=_NEAR, is_between_machines=True, at_most=2, tried=("/ray.rpc.RayletDriver/ClusterInfo",),
    ),
    Door(
        "Ray client, one program", ProcessKind.CLIENT_PROXIED, "a free port from 23000 on, while it is connected",
        _ONE_OR_BOTH, Proof.RAY_TOKEN, "the Ray client server", "", Speaks.GRPC,
        reaches=_ANYWHERE, is_between_machines=True, at_most=3, tried=("/ray.rpc.RayletDriver/ClusterInfo",),
    ),
    Door(
        "dashboard", ProcessKind.DASHBOARD, "ZEJZL_DASHBOARD_PORT (8265, or any free port)", "127.0.0.1",
        Proof.RAY_TOKEN, "the owner: it can start and stop anything",
        "The empty page that asks for the token, /api/version and what says that it lives need none.", Speaks.HTTP,
        port="dashboard_port", is_ipv6=False,
        tried=("/api/v0/actors", "/api/jobs/", "/api/cluster_status", "/nodes?view=summary"),
    ),
    Door(
        "dashboard parts", ProcessKind.DASHBOARD_PART, "sockets/dash_* in Ray's own directory", "socket file",
        Proof.OWNER, "Ray's dashboard", "The directory above has mode 0700.",
        transport=Transport.FILE, reaches=_FILE, path="*/sockets/dash_*",
    ),
    Door(
        "dashboard starter", ProcessKind.FORK_SERVER, "a directory of its own under the temporary one", "socket file",
        Proof.OWNER, "Ray's dashboard", "The directory has mode 0700.",
        transport=Transport.FILE, reaches=_FILE, path="*/pymp-*/listener-*",
    ),
    Door(
        "node agent", ProcessKind.NODE_AGENT, f"ZEJZL_RAY_AGENT_GRPC_PORT (20003); {_FREE}", _ONE_OR_ALL,
        Proof.RAY_TOKEN,
        "Ray's own processes", _RAY_NOTE, Speaks.GRPC, reaches=_ANYWHERE, is_between_machines=True, is_ipv6=True,
        tried=("/ray.rpc.ReporterService/GetTraceback",),
    ),
    Door(
        "Ray's figures", ProcessKind.NODE_AGENT,
        f"only with ZEJZL_RAY_METRICS=true: ZEJZL_RAY_METRICS_PORT (8090); {_FREE}", _ONE_OR_ALL,
        Proof.NOTHING, "Prometheus, and whoever else reaches it",
        "Ray's page asks for nobody's proof and shows names of agents, actors and machines with their loads. On "
        "loopback on one machine; between machines on all interfaces, without TLS: let a firewall admit the scraper "
        "only. zejzl's own figures are at the health port of observability_hub too, behind a token.",
        Speaks.HTTP, reaches=_ANYWHERE, is_between_machines=True, port="metrics_ports", is_asked_for=True,
    ),
    Door(
        "node agent, HTTP", ProcessKind.NODE_AGENT, f"ZEJZL_RAY_AGENT_HTTP_PORT (20004); {_FREE}, twice", _ONE_OR_BOTH,
        Proof.RAY_TOKEN, "Ray's dashboard: logs and jobs of the machine",
        "It says without proof that the agent and its raylet live.", Speaks.HTTP, reaches=_NEAR,
        is_between_machines=True, is_ipv6=False, at_most=2,
        tried=("/api/job_agent/jobs/x", "/logs", "/api/ray/version", "/"),
    ),
    Door(
        "runtime environment agent", ProcessKind.RUNTIME_AGENT, f"ZEJZL_RAY_RUNTIME_ENV_PORT (20005); {_FREE}",
        _ONE_OR_OWN,
        Proof.RAY_TOKEN, "the machine's raylet", "", Speaks.HTTP, reaches=_NEAR, is_between_machines=True,
        tried=("/get_or_create_runtime_env", "/"),
    ),
    Door(
        "Redis", None, "ZEJZL_STORE_URL, port 6380: deploy/redis.conf", "one private address",
        Proof.PASSWORD, "the services of a cluster of several machines: their state",
        "Not started by the system and not there on one machine. TLS only; a peer without a certificate of the "
        "cluster's authority is refused before the password is asked for.",
        reaches=_NEAR,
    ),
)  # fmt: skip
