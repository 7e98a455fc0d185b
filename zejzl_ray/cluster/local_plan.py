"""The plan of a cluster on one machine: one Ray node for each declared machine, as data."""

import hashlib
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from zejzl_ray.cluster.monitoring import monitoring_of
from zejzl_ray.cluster.node_start import NodePorts, NodeRole, NodeStart
from zejzl_ray.cluster.ports import free_ports, is_port_free, require_distinct, require_free
from zejzl_ray.cluster.record import ClusterRecord
from zejzl_ray.errors import SettingsInvalid
from zejzl_ray.machine.gpu_tags import gpu_tags
from zejzl_ray.machine.settings import GpuSettings, NodeAgentSettings, for_machine
from zejzl_ray.machine.vram import ask_vram_total
from zejzl_ray.settings import Settings
from zejzl_ray.tls.policy import ingress_credentials

LOOPBACK = "127.0.0.1"
RAY_TOKEN_FILE = "ray_token"  # noqa: S105  a file name, not a secret
TOKEN_FILE = "token"  # noqa: S105  a file name, not a secret
MASTER_KEY_FILE = "security_key"
INGRESS_CREDENTIAL_FILE = "ingress_credential"
_DASHBOARD_PORT = 8265


@dataclass(frozen=True, slots=True)
class LocalPlan:
    """What `up` is about to start: the record to write first, and the nodes, head first."""

    record: ClusterRecord
    nodes: tuple[NodeStart, ...]


def cluster_id(data_dir: Path) -> str:
    """Return the id of the cluster that belongs to a data directory.

    It is the same at every start, however the directory is written, so that `down` finds the processes.
    """
    return "zejzl-" + hashlib.sha256(str(data_dir.resolve()).encode()).hexdigest()[:10]


def ray_temp_dir(identity: str) -> Path:
    """Return where Ray keeps the sockets and logs of a cluster.

    Ray opens the directory itself to everybody, so whoever starts a node closes the one above it first.
    """
    return Path(tempfile.gettempdir()) / identity / "r"


def gpu_settings(settings: Settings, machine: str, *, is_first: bool = True) -> GpuSettings:
    """Return which cards a machine has.

    On one computer all real cards belong to the first machine by default.

    Raises:
        SettingsInvalid: a text is not understood.
    """
    declared = for_machine(settings.vram_mib, machine)
    if declared and not declared.isdecimal():
        raise SettingsInvalid(
            f"ZEJZL_VRAM_MIB: {declared!r} for machine {machine} is no whole number of MiB.",
            "Write, for example, mainpc=20000;pc2=10000.",
        )
    return GpuSettings(
        cards=for_machine(settings.gpu_cards, machine, "all" if is_first else "none"),
        simulated=for_machine(settings.simulated_gpus, machine),
        declared_vram_mib=int(declared) if declared else None,
    )


def node_agent_settings(
    settings: Settings, machine: str, *, is_first: bool, cpus: int | None
) -> NodeAgentSettings:
    """Return how the node agent of a machine works."""
    return NodeAgentSettings(
        gpus=gpu_settings(settings, machine, is_first=is_first),
        report_period_s=settings.report_period_s,
        logs=settings.logs,
        cpu_count=cpus,
    )


def split_cpus(total: int, machines: int) -> list[int]:
    """Return whole CPUs for each machine, the first gets what is over, nobody less than one."""
    share = max(1, total // machines)
    return [max(1, total - share * (machines - 1)), *([share] * (machines - 1))]


def plan_local_cluster(settings: Settings, machines: tuple[str, ...]) -> LocalPlan:
    """Choose ports and resources of a cluster on this computer; starts nothing.

    Args:
        settings: as read from the environment.
        machines: names of the declared machines; the first is the head.

    Raises:
        PortInUse: a port of the services is taken.
        ClusterError: the address to listen on is not of this machine, or wants a certificate that is not there.
        SettingsInvalid: two settings name one port; cards or memory are set in a way that is not understood.
    """
    ingress_credentials(settings, time.time())
    services = service_ports(settings)
    require_distinct(services)
    # Health ports never leave loopback, and the local tools reach the ingress there, whatever else it listens on.
    require_free(services, LOOPBACK)
    if settings.is_exposed:
        require_free({"ZEJZL_HTTP_PORT": settings.http_port}, settings.bind_host)
    kept = {*services.values(), settings.ray_port or 0}
    identity = cluster_id(settings.data_path)
    dashboard = settings.dashboard_port or (
        _DASHBOARD_PORT
        if _DASHBOARD_PORT not in kept and is_port_free(LOOPBACK, _DASHBOARD_PORT)
        else free_ports(1, avoid=kept)[0]
    )
    named = {"ZEJZL_DASHBOARD_PORT": dashboard}
    if settings.ray_port is not None:
        named["ZEJZL_RAY_PORT"] = settings.ray_port
    require_distinct({**services, **named})
    require_free(named, LOOPBACK)
    gcs, client, *metrics = free_ports(
        2 + (len(machines) if settings.ray_metrics else 0), avoid={dashboard, *kept}
    )
    gcs = settings.ray_port or gcs
    record = ClusterRecord(
        cluster_id=identity,
        temp_dir=ray_temp_dir(identity),
        address=f"{LOOPBACK}:{gcs}",
        dashboard_url=f"http://{LOOPBACK}:{dashboard}",
        http_url=ingress_url(settings),
        bind_host=settings.bind_host,
        namespace=settings.namespace,
        machines=machines,
        metrics_ports=tuple(metrics),
    )
    cpus = split_cpus(os.cpu_count() or 1, len(machines))
    totals = {
        machine: ask_vram_total(gpu_settings(settings, machine, is_first=index == 0), machine)
        for index, machine in enumerate(machines)
    }
    nodes = tuple(
        NodeStart(
            cluster_id=identity,
            machine=machine,
            role=NodeRole.HEAD if index == 0 else NodeRole.WORKER,
            head_address=record.address,
            node_ip=LOOPBACK,
            temp_dir=record.temp_dir,
            token_path=settings.data_path / RAY_TOKEN_FILE,
            cpus=cpus[index],
            vram_mib=totals[machine].vram_mib,
            cards=totals[machine].cards,
            tags=gpu_tags(totals[machine]),
            object_store_mib=settings.object_store_mib,
            monitoring=monitoring_of(settings),
            ports=NodePorts(
                dashboard=dashboard, ray_client=client, metrics=metrics[index] if metrics else None
            ),
            ray_executable=str(Path(sys.executable).with_name("ray")),
        )
        for index, machine in enumerate(machines)
    )
    return LocalPlan(record, nodes)


def service_ports(settings: Settings) -> dict[str, int]:
    """Return the ports that the services listen on, by the environment variable that moves each."""
    return {
        "ZEJZL_HTTP_PORT": settings.http_port,
        "ZEJZL_RESOURCE_MANAGER_PORT": settings.resource_manager_port,
        "ZEJZL_OBSERVABILITY_PORT": settings.observability_port,
        "ZEJZL_ERROR_BUS_PORT": settings.error_bus_port,
        "ZEJZL_SECURITY_PORT": settings.security_port,
    }


def ingress_url(settings: Settings) -> str:
    """Return where this machine reaches the ingress: on loopback, whatever else it listens on."""
    scheme = "https" if settings.is_loopback_encrypted else "http"
    host = LOOPBACK if settings.is_exposed else settings.bind_host
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{settings.http_port}"
