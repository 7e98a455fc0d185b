"""The command that starts one Ray node, built as data: used on one machine for both nodes, and by ``ray up``.

Nothing here runs a process, reads the environment or imports Ray.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from pydantic import Field, model_validator

from zejzl_ray.cluster.monitoring import Monitoring
from zejzl_ray.cluster.names import MACHINE_LABEL, VRAM_RESOURCE, card_resource
from zejzl_ray.contracts.base import Contract
from zejzl_ray.tls.credentials import TlsFiles

MARKER: Final = "ZEJZL_NODE_MARKER"
"""Environment variable in every process of a node; see :func:`node_marker`."""

GCS_USER: Final = "ray"
"""Ray's user in Redis; see :mod:`zejzl_ray.cluster.gcs_store`."""

GCS_ANY_TEXT: Final = (
    "certificate"  # no secret: Redis takes any text of this user, and Ray names the user only with one
)

_MIB: Final = 1024 * 1024
_LOOPBACK: Final = "127.0.0.1"
# Linux allows 107 bytes for a socket's path; Ray appends session_<date>_<pid>/sockets/plasma_store.<n>.
_LONGEST_TEMP_DIR: Final = 40


class NodeRole(StrEnum):
    """What the node is to the cluster."""

    HEAD = "head"
    WORKER = "worker"


class HealthCheck(Contract):
    """How soon a silent machine is declared lost: about (``period_ms`` + ``timeout_ms``) x ``failure_threshold``."""

    period_ms: int = Field(default=300, gt=0)
    timeout_ms: int = Field(default=1500, gt=0)
    failure_threshold: int = Field(default=3, gt=0)
    initial_delay_ms: int = Field(default=1000, ge=0)


class NodePorts(Contract):
    """Ports of a node; 0 is a free one, so that two nodes fit on one machine.

    Fixed ports must lie outside ``worker_ports``; ``worker_ports=None`` lets every worker take any free port.
    """

    dashboard: int = Field(default=8265, ge=1, le=65535)
    ray_client: int = Field(default=10001, ge=1024, le=65535, description="Ray refuses 0 here; head only")
    worker_ports: tuple[int, int] | None = Field(default=None, description="first and last, for a firewall")
    node_manager: int = Field(default=0, ge=0, le=65535)
    object_manager: int = Field(default=0, ge=0, le=65535)
    agent_grpc: int = Field(default=0, ge=0, le=65535)
    agent_http: int = Field(default=0, ge=0, le=65535)
    runtime_env: int = Field(default=0, ge=0, le=65535)
    metrics: int | None = Field(
        default=None,
        ge=0,
        le=65535,
        description="Ray's page of figures, which asks for no token; None: not served",
    )


class NodeStart(Contract):
    """Everything that the start of one Ray node depends on."""

    cluster_id: str = Field(
        min_length=1, description="tells the processes of this cluster from those of any other"
    )
    machine: str = Field(min_length=1, description="value of the label zejzl.io/machine")
    role: NodeRole
    head_address: str = Field(pattern=r"^[^\s:]+:[0-9]{1,5}$", description="host:port of the head's GCS")
    node_ip: str = Field(description="address of this machine, as the others reach it")
    temp_dir: Path = Field(
        description="absolute and short; the same for all nodes of a cluster on one machine"
    )
    token_path: Path = Field(description="file with the Ray token, the same on every machine; mode 0600")
    tls: TlsFiles | None = Field(
        default=None, description="speak TLS with these; None only on loopback or if told"
    )
    cpus: int = Field(ge=0, description="whole ones: the command line of Ray takes no fractions")
    gpus: int = Field(default=0, ge=0)
    vram_mib: int = Field(default=0, ge=0)
    cards: dict[str, int] = Field(default_factory=dict, description="uuid -> MiB of each card")
    tags: dict[str, str] = Field(default_factory=dict, description="labels beside that of the machine")
    object_store_mib: int = Field(default=512, ge=80)
    ports: NodePorts = NodePorts()
    health: HealthCheck = HealthCheck()
    dashboard_host: str = "127.0.0.1"
    monitoring: Monitoring = Monitoring()
    autoscaling_config: Path | None = Field(default=None, description="given by `ray up` to the head")
    redis_address: str | None = Field(default=None, description="keeps GCS state: rediss://host:port")
    redis_namespace: str | None = Field(
        default=None,
        description="start of its keys there, one for each intended start; no part of the fingerprint",
    )
    redis_tls: TlsFiles | None = Field(default=None, description="shown to Redis")
    gcs_reconnect_timeout_s: int = Field(
        default=60, gt=0, description="how long a node waits for a lost head"
    )
    ray_executable: str = "ray"

    @model_validator(mode="after")
    def _check(self) -> "NodeStart":
        if not self.temp_dir.is_absolute():
            raise ValueError(f"temp_dir must be absolute: {self.temp_dir}")
        if len(str(self.temp_dir)) > _LONGEST_TEMP_DIR:
            raise ValueError(
                f"temp_dir is longer than {_LONGEST_TEMP_DIR} characters, so Ray's sockets would not fit: "
                f"{self.temp_dir}"
            )
        if self.role is NodeRole.HEAD:
            self._check_ports()
        return self

    def _check_ports(self) -> None:
        fixed = {
            "head_address": self.gcs_port,
            "dashboard": self.ports.dashboard,
            "ray_client": self.ports.ray_client,
        }
        if len(set(fixed.values())) != len(fixed):
            raise ValueError(f"two parts of the head share a port: {fixed}")
        if self.ports.worker_ports is None:
            return
        first, last = self.ports.worker_ports
        clash = [name for name, port in fixed.items() if first <= port <= last]
        if clash:
            raise ValueError(f"ports inside worker_ports {first}-{last}: {', '.join(clash)}")

    @property
    def gcs_port(self) -> int:
        """Port of the head's GCS."""
        return int(self.head_address.rpartition(":")[2])

    @property
    def fingerprint(self) -> str:
        """Changes when, and only when, a running node would have to be started again to match."""
        lasting = self.model_dump_json(exclude={"redis_namespace"})
        return hashlib.sha256(lasting.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class NodeCommand:
    """One ``ray start``: it returns when the node is up, and its processes stay.

    Attributes:
        argv: program and arguments; no secret among them.
        environment: to be laid over the caller's own; no secret among the values.
    """

    argv: tuple[str, ...]
    environment: dict[str, str]


def node_marker(cluster_id: str, machine: str) -> str:
    """Return the value of :data:`MARKER` in the processes of one node."""
    return f"{cluster_id}/{machine}"


def is_loopback(address: str) -> bool:
    """Return whether an address, with or without a port, is that of a cluster on one machine."""
    return address.partition(":")[0] == _LOOPBACK


def client_environment(
    token_path: Path, tls: TlsFiles | None = None, *, on_loopback: bool = False
) -> dict[str, str]:
    """Return what a program needs in its environment before it imports Ray to reach the cluster.

    Args:
        token_path: file with the Ray token.
        tls: certificate, key and authority, where the cluster speaks TLS.
        on_loopback: the cluster is on this machine only. Without the variable that this sets, Ray replaces 127.0.0.1
            by the machine's outer address, and listens on all interfaces.
    """
    environment = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token_path),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_USE_TLS": "0",  # said, so that a variable from the user's shell does not decide
    }
    # Named after the systems where it is the default: no firewall shall ask about Ray's ports there.
    environment["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0" if on_loopback else "1"
    if tls is not None:
        environment |= {
            "RAY_USE_TLS": "1",
            "RAY_TLS_SERVER_CERT": str(tls.certificate),
            "RAY_TLS_SERVER_KEY": str(tls.key),
            "RAY_TLS_CA_CERT": str(tls.authority),
        }
    return environment


def ray_start_command(node: NodeStart) -> NodeCommand:
    """Return the command and environment that start the node.

    Run it with a time limit: a worker whose head does not answer waits for more than a minute.
    """
    argv = [node.ray_executable, "start"]
    if node.role is NodeRole.WORKER and is_loopback(node.node_ip):
        python = str(Path(node.ray_executable).with_name("python"))
        argv = [python, "-m", "zejzl_ray.cluster.loopback_node", "start"]
    if node.role is NodeRole.HEAD:
        argv += [
            "--head",
            f"--port={node.gcs_port}",
            "--include-dashboard=true",
            f"--dashboard-host={node.dashboard_host}",
            f"--dashboard-port={node.ports.dashboard}",
            f"--ray-client-server-port={node.ports.ray_client}",
        ]
        if node.redis_address is not None:
            argv += [f"--redis-username={GCS_USER}", f"--redis-password={GCS_ANY_TEXT}"]
        if node.autoscaling_config is not None:
            argv.append(f"--autoscaling-config={node.autoscaling_config}")
    else:
        argv.append(f"--address={node.head_address}")
    first, last = node.ports.worker_ports or (0, 0)
    argv += [
        f"--node-ip-address={node.node_ip}",
        f"--temp-dir={node.temp_dir}",
        # Always said: its fixed default clashes with a second node on the machine.
        f"--dashboard-agent-listen-port={node.ports.agent_http}",
        *_port("dashboard-agent-grpc-port", node.ports.agent_grpc),
        *_port("runtime-env-agent-port", node.ports.runtime_env),
        f"--min-worker-port={first}",
        f"--max-worker-port={last}",
        f"--node-manager-port={node.ports.node_manager}",
        f"--object-manager-port={node.ports.object_manager}",
        *([] if node.ports.metrics is None else [f"--metrics-export-port={node.ports.metrics}"]),
        f"--num-cpus={node.cpus}",
        f"--num-gpus={node.gpus}",
        f"--object-store-memory={node.object_store_mib * _MIB}",
        "--labels=" + ",".join(f"{name}={value}" for name, value in _labels(node).items()),
        f"--resources={json.dumps(ray_resources(node.vram_mib, node.cards))}",
        "--disable-usage-stats",
    ]
    return NodeCommand(argv=tuple(argv), environment=_environment(node))


def _port(option: str, port: int) -> list[str]:
    return [f"--{option}={port}"] if port else []


def _labels(node: NodeStart) -> dict[str, str]:
    return {MACHINE_LABEL: node.machine, **node.tags}


def ray_resources(vram_mib: int, cards: Mapping[str, int]) -> dict[str, int]:
    """Return Ray's own words for video memory.

    The machine's total is the coarse gate; each card is a resource too, so that Ray overcommits none.
    """
    if not vram_mib:
        return {}
    return {VRAM_RESOURCE: vram_mib} | {card_resource(uuid): mib for uuid, mib in cards.items() if mib}


def _environment(node: NodeStart) -> dict[str, str]:
    health = node.health
    environment = client_environment(node.token_path, node.tls, on_loopback=is_loopback(node.node_ip)) | {
        MARKER: node_marker(node.cluster_id, node.machine),
        # The local provider of `ray up` starts no worker under the second autoscaler, which is the default.
        "RAY_enable_autoscaler_v2": "0",
        # Pages of figures for Prometheus, without a token: not served unless asked for. The last two, on all
        # interfaces whatever the node's address is, never: they know no other way than a port that cannot be, and each
        # writes one exception into its log.
        "RAY_enable_metrics_collection": "0" if node.ports.metrics is None else "1",
        "AUTOSCALER_METRIC_PORT": "-1",
        "DASHBOARD_METRIC_PORT": "-1",
        "RAY_health_check_period_ms": str(health.period_ms),
        "RAY_health_check_timeout_ms": str(health.timeout_ms),
        "RAY_health_check_failure_threshold": str(health.failure_threshold),
        "RAY_health_check_initial_delay_ms": str(health.initial_delay_ms),
        "RAY_gcs_rpc_server_reconnect_timeout_s": str(node.gcs_reconnect_timeout_s),
        # Ray's threads would have up to 8 heaps a core, which each grow to a high-water mark of their own, for hours.
        "MALLOC_ARENA_MAX": "2",
        # Tasks that the dashboard can still show. Ray's 100,000 take 200 MB of the control store, within a few hours.
        "RAY_task_events_max_num_task_in_gcs": "5000",
        "RAY_task_events_max_dropped_task_attempts_tracked_per_job_in_gcs": "5000",
        # Otherwise a call to a process that was killed ends 1 to 2 s later: Ray waits for words about its end.
        "RAY_timeout_ms_task_wait_for_death_info": "0",
    }
    if node.role is NodeRole.HEAD:
        environment |= node.monitoring.environment
    if node.autoscaling_config is not None:
        # Ray's launcher looks at the workers three times before it starts one: every 5 s of its own accord.
        environment["AUTOSCALER_UPDATE_INTERVAL_S"] = "1"
    if node.role is NodeRole.HEAD and node.redis_address is not None:
        environment["RAY_REDIS_ADDRESS"] = node.redis_address
        environment["RAY_external_storage_namespace"] = node.redis_namespace or node.cluster_id
        if node.redis_tls is not None:
            environment["RAY_REDIS_CA_CERT"] = str(node.redis_tls.authority)
            environment["RAY_REDIS_CLIENT_CERT"] = str(node.redis_tls.certificate)
            environment["RAY_REDIS_CLIENT_KEY"] = str(node.redis_tls.key)
    return environment
