"""The services on a cluster of several machines: what the head runs once its own node is up.

Ray reads its environment when it is imported, so everything that imports it is imported inside the functions.
"""

import asyncio
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from actors.identities import Identities, ensure_identities
from actors.ingress_certificate import ingress_environment
from actors.own_policy import own_policy
from serve_apps.haproxy.environment import haproxy_directory
from zejzl_ray.cluster.local_nodes import exclusive
from zejzl_ray.cluster.local_plan import RAY_TOKEN_FILE, ingress_url, node_agent_settings
from zejzl_ray.cluster.node_intent import is_stand_in
from zejzl_ray.cluster.node_start import NodeRole, NodeStart, client_environment
from zejzl_ray.cluster.record import ClusterRecord
from zejzl_ray.errors import ClusterError
from zejzl_ray.fleet.declare import declare_command
from zejzl_ray.fleet.model import Fleet
from zejzl_ray.settings import Settings

if TYPE_CHECKING:
    from actors.bootstrap import Running

Report = Callable[[str], None]


def node_environment(settings: Settings, role: NodeRole) -> dict[str, str]:
    """Return what Ray's processes need in their environment on this machine, beside what starts the node.

    The ingress listens at the head only. Settings are the same on all machines, and an address in them is the head's: a
    worker has no certificate that names it, and needs none.

    Raises:
        ClusterError: the ingress would listen beyond loopback without a certificate.
    """
    if role is not NodeRole.HEAD:
        settings = settings.model_copy(update={"bind_host": "127.0.0.1", "http_tls": "auto"})
    return ingress_environment(settings)


def node_leftovers(settings: Settings) -> tuple[Path, ...]:
    """Return the directories that Ray's processes leave outside their own; they go when the node has ended."""
    return (haproxy_directory(settings.data_path),)


def remove_node_leftovers(settings: Settings) -> None:
    """Remove those directories of a node that has ended; safe to repeat."""
    for directory in node_leftovers(settings):
        shutil.rmtree(directory, ignore_errors=True)


def head_record(settings: Settings, node: NodeStart) -> ClusterRecord:
    """Return what is written down at the head; its machines are those of this computer, which is one."""
    return ClusterRecord(
        cluster_id=node.cluster_id,
        temp_dir=node.temp_dir,
        address=node.head_address,
        dashboard_url=f"http://{node.dashboard_host}:{node.ports.dashboard}",
        http_url=ingress_url(settings),
        bind_host=settings.bind_host,
        namespace=settings.namespace,
        machines=(node.machine,),
        tls=node.tls,
        metrics_ports=() if node.ports.metrics is None else (node.ports.metrics,),
    )


def run_launched_services(
    settings: Settings,
    node: NodeStart,
    fleet: Fleet,
    source: str,
    report: Report,
    when_ready: Callable[["Running"], None],
) -> None:
    """Wait for the declared machines, start the services and load the fleet; then send home whoever is not there.

    Safe to repeat: the second one leaves as soon as everything is ready. With ``ZEJZL_FAILBACK=never`` the first does.

    A machine that has not joined after ``home_wait_s`` is named, and its services go to their fallback.

    Args:
        settings: as read from the environment of the head.
        node: the head's own node, which is up.
        fleet: what to load.
        source: where the fleet was read from.
        report: told of each step.
        when_ready: told once of what is up.

    Raises:
        ClusterError: something did not start; says what and why.
    """
    if node.machine not in fleet.machines:
        raise ClusterError(
            f"The fleet declares no machine {node.machine}.", "Name this machine as in the fleet file."
        )
    data_dir = settings.data_path
    os.environ.update(node_environment(settings, node.role) | client_environment(node.token_path, node.tls))
    from actors.bootstrap import Plan, bring_up  # noqa: PLC0415  imports ray
    from actors.host_plans import plan_hosts  # noqa: PLC0415  as above
    from actors.local_system import connected  # noqa: PLC0415  as above

    policy, policy_source = own_policy(settings)
    identities = ensure_identities(data_dir)
    if identities.is_administrator_renewed:
        report(
            f"{identities.administrator_file} held no credential: it has a new one, the old text counts no more"
        )
    record = head_record(settings, node)
    plan = Plan(
        settings=settings,
        identities=identities,
        machines={
            machine: node_agent_settings(settings, machine, is_first=True, cpus=None)
            for machine in fleet.machines
        },
        fleet=declare_command(fleet, source),
        hosts=plan_hosts(fleet, Path(source), settings, identities),
        policy=policy,
        policy_source=policy_source,
        stand_in=node.machine if is_stand_in(data_dir) else "",
    )
    with connected(record, data_dir / RAY_TOKEN_FILE):
        with exclusive(data_dir):
            record.write(data_dir)
            running = asyncio.run(bring_up(plan, report))
            record.model_copy(update={"is_complete": True}).write(data_dir)
        when_ready(running)
        if settings.failback == "auto" and len(fleet.machines) > 1:
            with sole_keeper(data_dir) as is_sole:
                if is_sole:
                    asyncio.run(_keep_home(identities, settings, report))


async def _keep_home(identities: Identities, settings: Settings, report: Report) -> None:
    from actors.bootstrap import root_access  # noqa: PLC0415  imports ray
    from actors.homecoming import keep_home  # noqa: PLC0415  as above

    access = root_access(identities, settings.namespace)
    try:
        await keep_home(access, settings.namespace, settings.failback_after_s, report)
    finally:
        await access.close()


@contextmanager
def sole_keeper(data_dir: Path) -> Iterator[bool]:
    """Tell whether this process is the only one that sends services home, and stay it."""
    descriptor = os.open(data_dir / "homecoming.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)
