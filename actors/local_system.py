"""The whole system on one machine: what ``zejzl up`` and ``zejzl down`` do.

Ray reads its environment when it is imported, so everything that imports it is imported inside the functions, after
the environment is set.
"""

import asyncio
import contextlib
import importlib
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from actors.identities import Identities, ensure_identities
from actors.ingress_certificate import ingress_environment
from actors.own_policy import own_policy
from serve_apps.haproxy.environment import haproxy_directory
from zejzl_ray.cluster.launched_node import require_no_supervised_node
from zejzl_ray.cluster.local_nodes import (
    exclusive,
    is_control_store_there,
    running_cluster,
    start_head,
    start_workers,
    stop_all,
)
from zejzl_ray.cluster.local_plan import (
    RAY_TOKEN_FILE,
    node_agent_settings,
    plan_local_cluster,
    split_cpus,
)
from zejzl_ray.cluster.node_processes import StopReport
from zejzl_ray.cluster.node_start import client_environment, is_loopback
from zejzl_ray.cluster.record import ClusterRecord
from zejzl_ray.cluster.secret_file import ensure_token, make_private_directory
from zejzl_ray.contracts.policy import Policy
from zejzl_ray.errors import ClusterError
from zejzl_ray.fleet.declare import declare_command
from zejzl_ray.fleet.model import Fleet
from zejzl_ray.settings import Settings

if TYPE_CHECKING:
    from actors.bootstrap import Running

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class LocalSystem:
    """What is up on this machine."""

    record: ClusterRecord
    running: "Running"
    token_file: Path
    ray_token_file: Path
    took_s: float
    was_running: bool


def start_local_system(settings: Settings, fleet: Fleet, source: str, report: Report) -> LocalSystem:
    """Start everything that is not running yet and wait until it answers; repeated, it changes nothing.

    Leftovers of an interrupted start are removed first. Another Ray cluster of the machine is left alone.

    Raises:
        PortInUse: a port of the services is taken.
        ClusterError: something did not start, or this machine is part of a cluster of several; says what and why.
    """
    started_s = time.monotonic()
    machines = tuple(fleet.machines)
    if not machines:
        raise ClusterError("The fleet declares no machine.", "Add one under `machines:` of the fleet file.")
    data_dir = settings.data_path
    require_no_supervised_node(data_dir)
    ray_token_file = data_dir / RAY_TOKEN_FILE
    policy = own_policy(settings)
    identities = ensure_identities(data_dir)
    if identities.is_administrator_renewed:
        report(
            f"{identities.administrator_file} held no credential: it has a new one, the old text counts no more"
        )
    ensure_token(ray_token_file)
    with exclusive(data_dir):
        record = running_cluster(data_dir)
        was_running = record is not None
        plan = None
        if record is None:
            leftovers = stop_all(data_dir)
            if leftovers.ended or leftovers.killed:
                report(
                    f"removed {leftovers.ended + leftovers.killed} processes of a cluster that was not whole"
                )
            plan = plan_local_cluster(settings, machines)
            record = plan.record
        # After the plan, which may refuse: until then nothing is made outside of the data directory.
        environment = ingress_environment(settings)
        os.environ.update(environment | client_environment(ray_token_file, on_loopback=True))
        with ThreadPoolExecutor(max_workers=1) as aside:
            joining: Future[None] | None = None
            if plan is not None:
                # Importing Ray takes as long as a good part of its start; the other nodes join while the head's
                # services and the ingress start.
                aside.submit(importlib.import_module, "actors.bootstrap")
                make_private_directory(record.temp_dir.parent)
                start_head(plan, data_dir, environment, report)
                joining = aside.submit(start_workers, plan, data_dir, environment, report)
            try:
                with connected(record, ray_token_file):
                    running = _bring_up(
                        settings, fleet, source, identities, policy, machines, report, joining
                    )
            except ClusterError:
                if joining is not None and joining.done() and joining.exception() is not None:
                    stop_all(data_dir)  # half a cluster is of no use to the next try
                raise
        record.model_copy(update={"is_complete": True}).write(data_dir)
    return LocalSystem(
        record=record,
        running=running,
        token_file=identities.administrator_file,
        ray_token_file=ray_token_file,
        took_s=time.monotonic() - started_s,
        was_running=was_running,
    )


def stop_local_system(settings: Settings, report: Report) -> StopReport:
    """Stop everything of this data directory's cluster; safe to repeat, also after a start that was interrupted.

    Raises:
        ClusterError: a process could not be ended, or this machine is part of a cluster of several.
    """
    data_dir = settings.data_path
    require_no_supervised_node(data_dir)
    make_private_directory(data_dir)
    with exclusive(data_dir):
        record = running_cluster(data_dir)
        if record is not None:
            try:
                with connected(record, data_dir / RAY_TOKEN_FILE):
                    from actors.bootstrap import stop_services

                    asyncio.run(stop_services(record.namespace, ensure_identities(data_dir)))
                    report("services stopped")
            except ClusterError as error:  # what is acknowledged is in the store already, so go on
                report(f"services could not be asked to stop: {error.message}")
        done = stop_all(data_dir)
        shutil.rmtree(haproxy_directory(data_dir), ignore_errors=True)
        if done.ended or done.killed:
            report(f"{done.ended + done.killed} processes ended")
    return done


@contextlib.contextmanager
def connected(record: ClusterRecord, ray_token_file: Path) -> Iterator[None]:
    """Connect this process to the cluster as a Ray driver, and leave it at the end.

    Raises:
        ClusterError: the cluster cannot be reached.
    """
    if not is_control_store_there(record):  # Ray itself would try again for many minutes
        raise ClusterError(
            f"Nothing answers at {record.address}, where the cluster's control store was.",
            "Run `zejzl down`, then `zejzl up`.",
        )
    os.environ.update(client_environment(ray_token_file, record.tls, on_loopback=is_loopback(record.address)))
    import ray

    try:
        ray.init(
            address=record.address,
            namespace=record.namespace,
            log_to_driver=False,
            logging_level=logging.ERROR,
            configure_logging=False,
            _temp_dir=None,
        )
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        raise ClusterError(
            f"Cannot reach Ray at {record.address}: {str(error).splitlines()[0] if str(error) else 'no reason given'}.",
            "Run `zejzl down`, then `zejzl up`.",
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


def _bring_up(
    settings: Settings,
    fleet: Fleet,
    source: str,
    identities: Identities,
    own: tuple[Policy | None, str],
    machines: tuple[str, ...],
    report: Report,
    joining: "Future[None] | None",
) -> "Running":
    from actors.bootstrap import Plan, bring_up
    from actors.host_plans import plan_hosts

    policy, policy_source = own
    cpus = split_cpus(os.cpu_count() or 1, len(machines))
    plan = Plan(
        settings=settings,
        identities=identities,
        machines={
            machine: node_agent_settings(settings, machine, is_first=index == 0, cpus=cpus[index])
            for index, machine in enumerate(machines)
        },
        fleet=declare_command(fleet, source),
        hosts=plan_hosts(fleet, Path(source), settings, identities),
        policy=policy,
        policy_source=policy_source,
        check_joining=lambda: _raise_if_failed(joining),
    )
    return asyncio.run(bring_up(plan, report))


def _raise_if_failed(joining: "Future[None] | None") -> None:
    if joining is not None and joining.done():
        joining.result()
