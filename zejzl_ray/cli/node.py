"""``zejzl node``: this machine's part in a cluster of several; what ``cluster.yaml`` calls on each.

Exit codes: 0 done, 1 the command failed (one message on standard error), 2 wrong usage.
"""

import os
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from pydantic import ValidationError

from zejzl_ray.cli.console import errors, output
from zejzl_ray.cli.declared_machines import declared_machine, declared_names
from zejzl_ray.cli.named_later import Later, LaterGroup
from zejzl_ray.cli.upgrade import back_up_before_upgrade
from zejzl_ray.cluster.credential_file import ensure_credential_file, ensure_master_key
from zejzl_ray.cluster.following import following_head, require_own_turn
from zejzl_ray.cluster.gcs_store import ensure_gcs_user, remove_old_state, require_gcs_user
from zejzl_ray.cluster.launched_node import plan_node, start_supervised, stop_supervised
from zejzl_ray.cluster.launcher_config import read_launcher_config
from zejzl_ray.cluster.local_plan import MASTER_KEY_FILE, RAY_TOKEN_FILE, TOKEN_FILE, service_ports
from zejzl_ray.cluster.node_intent import NodeIntent, read_intent, read_wanted
from zejzl_ray.cluster.node_lock import inherit_node_lock
from zejzl_ray.cluster.node_ports import GCS_PORT
from zejzl_ray.cluster.node_restarts import ROLE, Ending
from zejzl_ray.cluster.node_stand_by import wait_for_turn
from zejzl_ray.cluster.node_start import NodeRole, NodeStart
from zejzl_ray.cluster.ray_node import SERVICES_LOG_FILE, RayNode, start_services
from zejzl_ray.cluster.redis_address import parse_redis_address
from zejzl_ray.cluster.redis_role import ensure_role_file, write_role
from zejzl_ray.cluster.secret_file import ensure_token
from zejzl_ray.cluster.shared_store import ensure_redis_password, require_shared_store
from zejzl_ray.cluster.stop_mark import mark_stop_of_orphan, stop_mark
from zejzl_ray.cluster.supervised_plan import SupervisedPlan
from zejzl_ray.cluster.supervisor import StopAsked, Supervisor, announce, take_role
from zejzl_ray.cluster.supervisor_record import SupervisorRecord, read_supervisor_record
from zejzl_ray.cluster.this_machine import address_towards, own_addresses, require_own_address, resolve
from zejzl_ray.cluster_file.addresses import same_address
from zejzl_ray.cluster_file.launched import require_launched_file
from zejzl_ray.cluster_file.start_command import parse_worker
from zejzl_ray.errors import ClusterError, InvalidInput, ZejzlError
from zejzl_ray.log import configure_logging, files_of, get_logger
from zejzl_ray.release.used_settings import remember_settings
from zejzl_ray.settings import Settings, load_settings, settings_environment
from zejzl_ray.tls.policy import RAY_WITHOUT_TLS, ingress_credentials, ray_credentials


class _Commands(LaterGroup):
    later = tuple(Later(name, f"node_{name}") for name in ("ports", "resources", "state", "purge"))


app: Final = typer.Typer(cls=_Commands, no_args_is_help=True, pretty_exceptions_enable=False)

log = get_logger("zejzl.node")

_PROGRAM: Final = (sys.executable, "-m", "zejzl_ray.cli.main")

IsHead = Annotated[bool, typer.Option("--head", help="This machine is the head.")]
Address = Annotated[str, typer.Option(help="Where the head is: host, or host:port.", show_default=False)]
Machine = Annotated[
    str, typer.Option(help="Name of this machine; unset: found in the fleet file by its address.")
]
Workers = Annotated[
    list[str] | None,
    typer.Option("--worker", help="NAME=ADDRESS; may be repeated: this machine is the one with its address."),
]
NodeIp = Annotated[str, typer.Option(help="Address of this machine; unset: found.")]
ClusterFile = Annotated[Path | None, typer.Option(help="At the head: the file that `ray up` has put there.")]
Cpus = Annotated[int | None, typer.Option(min=1, envvar="ZEJZL_CPUS", help="CPUs for Ray; unset: all.")]
ReplicaOf = Annotated[
    str,
    typer.Option(help="HOST or HOST:PORT of the head's Redis, which that of this machine follows."),
]
IsOnce = Annotated[
    bool, typer.Option("--once", hidden=True, help="End when the first start fails, or the node was stopped.")
]
IsWithServices = Annotated[
    bool, typer.Option("--services/--no-services", help="At the head: start the services.")
]


@app.command()
def token(replica_of: ReplicaOf = "") -> None:
    """Make the cluster's Ray token, security key and Redis password if there are none, and print where they lie.

    All machines need a copy of them, which `ray up` brings them. Three further files are for Redis' configuration, on
    each machine where it runs: the password, the user under which Ray keeps its own state there, and whether it is the
    primary or a replica. Redis reads them when it starts.
    """
    data_dir = load_settings().data_path
    ray_token = data_dir / RAY_TOKEN_FILE
    security_key = data_dir / MASTER_KEY_FILE
    administrator = data_dir / TOKEN_FILE
    ensure_token(ray_token)
    ensure_master_key(security_key)
    ensure_credential_file(administrator)
    if replica_of:
        write_role(data_dir, parse_redis_address(replica_of))
    redis_files = (*ensure_redis_password(data_dir), ensure_gcs_user(data_dir), ensure_role_file(data_dir))
    for path in (ray_token, security_key, administrator, *redis_files):
        output.print(str(path), highlight=False, soft_wrap=True)


@app.command()
def start(
    head: IsHead = False,
    address: Address = "",
    machine: Machine = "",
    worker: Workers = None,
    node_ip: NodeIp = "",
    cluster_file: ClusterFile = None,
    cpus: Cpus = None,
    services: IsWithServices = True,
) -> None:
    """Start the Ray node of this machine, and at the head the services; nothing when it is up already.

    The machines speak TLS with each other: without a certificate of this machine nothing starts, unless
    ZEJZL_RAY_TLS=off says that the network between them is safe.
    """
    if head == bool(address):
        raise typer.BadParameter("give either --head or --address")
    settings = load_settings()
    if head and cluster_file is not None:
        require_launched_file(cluster_file, declared_names(settings))
    launcher = read_launcher_config(cluster_file) if cluster_file is not None else None
    if head:
        own_ip = node_ip or resolve(launcher.head_ip if launcher is not None else socket.gethostname())
        if services and launcher is not None:
            require_shared_store(settings.resolved_store_url(), {own_ip, *launcher.worker_ips})
        head_address = f"{own_ip}:{settings.ray_port or GCS_PORT}"
        require_own_address(own_ip)
    else:
        head_address = address if ":" in address else f"{address}:{settings.ray_port or GCS_PORT}"
        own_ip = node_ip or address_towards(head_address)
    try:
        node = plan_node(
            settings,
            machine=machine or _listed_worker(worker or (), own_ip) or declared_machine(settings, own_ip),
            role=NodeRole.HEAD if head else NodeRole.WORKER,
            head_address=head_address,
            node_ip=own_ip,
            cpus=cpus,
            autoscaling_config=cluster_file.expanduser() if cluster_file is not None else None,
        )
    except ValidationError as error:
        problems = "; ".join(
            problem["msg"] for problem in error.errors(include_input=False, include_url=False)
        )
        raise InvalidInput(f"The node cannot be started: {problems}.") from None
    _say_how_safe(settings, node)
    if node.redis_address is not None:
        require_gcs_user(settings)
    plan = SupervisedPlan(
        node=node,
        launcher=launcher if head else None,
        services=(*_PROGRAM, "node", "services") if head and services else None,
        settings=settings_environment(os.environ),
    )
    said = require_own_turn(settings, plan)
    if said:
        errors.print(f"{node.machine}: {said}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    remember_settings(settings.data_path, plan.settings, sys.executable)
    if plan.services is not None:
        back_up_before_upgrade(settings)
    supervisor = (*_PROGRAM, "node", "run", "--once")
    done = start_supervised(plan, settings.data_path, supervisor, service_ports(settings))
    if done == "already up":
        start_services(plan, settings.data_path)  # an earlier start of theirs may have failed
    output.print(
        f"node {node.machine} ({node.role}) at {node.node_ip}: {done}", highlight=False, soft_wrap=True
    )
    if plan.services is not None:
        log_path = settings.data_path / SERVICES_LOG_FILE
        output.print(f"services start in the background: `zejzl status`, {log_path}", soft_wrap=True)


@app.command()
def stop() -> None:
    """Stop the Ray node of this machine and all that it started; at the head, those of the workers too."""
    from actors.launched_system import remove_node_leftovers

    settings = load_settings()
    mark_stop_of_orphan(settings)
    record = stop_supervised(settings.data_path)
    remove_node_leftovers(settings)
    name = f"node {record.node.machine}" if record is not None else "node"
    output.print(f"{name}: {'stopped' if record is not None else 'was not running'}", highlight=False)


@app.command()
def run(once: IsOnce = False) -> None:
    """Keep the node of this machine running that `start` has started last, in the foreground: for systemd.

    After a reboot, or when the supervisor of `start` has died, the node is started again, and again when it does not
    come up; one that was stopped on purpose (`ray down`, `zejzl node stop`) stays down until the next `start`. Ends
    when the node is stopped; started again, it stands by.
    """
    settings = load_settings()
    data_dir = settings.data_path
    configure_logging(settings.log_level, service="supervisor")
    if once and read_intent(data_dir) is None:
        raise ClusterError("No node was started here yet.", "Run `ray up`, or `zejzl node start`.")
    with inherit_node_lock(data_dir) if once else wait_for_turn(data_dir):
        environment = dict(os.environ)
        is_patient = not once
        try:
            while (intent := _own_intent(data_dir)) is not None:
                if _supervise(intent, environment, is_patient=is_patient).process != ROLE:
                    return
                is_patient = True
        except StopAsked:  # between two roles, when nothing runs
            return


def _own_intent(data_dir: Path) -> NodeIntent | None:
    """Say that this process sees to the node, then return what shall run; None when somebody has just stopped it.

    In this order, since who stops a node first takes back that it shall run, and then looks whom to end.
    """
    intent = read_wanted(data_dir)
    if intent is None:
        return None
    announce(SupervisorRecord.of_this_process(intent.plan.node), data_dir)
    return read_wanted(data_dir)


def _supervise(intent: NodeIntent, environment: Mapping[str, str], *, is_patient: bool) -> Ending:
    from actors.launched_system import node_environment, node_leftovers

    os.environ.clear()
    os.environ.update(intent.plan.variables(environment))
    settings = load_settings()
    data_dir, machine = settings.data_path, intent.plan.node.machine
    files = files_of(settings.logs, machine)
    configure_logging(settings.log_level, service="supervisor", machine=machine, files=files)
    with following_head(settings, intent.plan) as following:
        plan = following.next_plan()
        if plan is not None:  # as when an old head comes back: it is not even started as one
            take_role(data_dir, plan)
            return Ending(is_asked=False, process=ROLE, status=0)
        plan = intent.plan
        if plan.node.redis_namespace is not None:
            _remove_old_state(settings, plan.node.cluster_id, plan.node.redis_namespace)
        # Made here and not by `start`: the node before this one removes its own directories while it ends.
        of_ray = node_environment(settings, plan.node.role)
        plan = plan.model_copy(update={"environment": of_ray, "leftovers": node_leftovers(settings)})
        node, mark = RayNode(plan, data_dir), stop_mark(settings, plan.node)
        return Supervisor(
            plan,
            data_dir,
            node,
            is_patient=is_patient,
            mark=mark,
            next_plan=following.next_plan,
            doubt=following.doubt,
            doubt_limit_s=settings.home_wait_s
            if is_patient
            else 0.0,  # else a person waits, and has been told
        ).run()


def _remove_old_state(settings: Settings, cluster_id: str, kept_namespace: str) -> None:
    """Make room in Redis; where it does not answer, as while it loads after a boot, the next start does it."""
    try:
        removed = remove_old_state(settings, cluster_id, kept_namespace)
    except ZejzlError as error:
        log.warning("old state of the control store was not removed", reason=error.message)
    else:
        log.info("old state of the control store removed", keys=removed)


@app.command(hidden=True)
def services() -> None:
    """Start the services and load the fleet from the head, and send home whoever is not there.

    Its supervisor runs this in the background.
    """
    from actors.launched_system import run_launched_services
    from zejzl_ray.cli.checked_fleet import load_checked_fleet

    settings = load_settings()
    configure_logging(settings.log_level, service="services")
    record = read_supervisor_record(settings.data_path)
    if record is None or record.node.role is not NodeRole.HEAD:
        raise ClusterError("This machine is not the head of a cluster.", "Run `zejzl node start --head`.")
    fleet, source = load_checked_fleet(settings, None)
    run_launched_services(
        settings,
        record.node,
        fleet,
        str(source),
        log.info,
        lambda running: log.info(
            "ready", machines=running.machines, missing_machines=running.missing_machines
        ),
    )


def _say_how_safe(settings: Settings, node: NodeStart) -> None:
    """Warn of what is open or about to end; refuse an ingress that would be open.

    Raises:
        ClusterError: the ingress would listen beyond loopback without a certificate.
    """
    if settings.ray_tls == "off":
        errors.print(f"WARNING: {RAY_WITHOUT_TLS}", style="bold red", markup=False, soft_wrap=True)
    now_s = time.time()
    ingress = ingress_credentials(settings, now_s) if node.role is NodeRole.HEAD else None
    ray = ray_credentials(settings, node.machine, node.node_ip, now_s)
    ending = [found.days_left for found in (ingress, ray) if found is not None and found.is_ending_soon]
    if ending:
        errors.print(
            f"WARNING: the certificate of {node.machine} expires in {min(ending):.0f} days: `zejzl tls renew`.",
            style="bold red", markup=False, soft_wrap=True,
        )  # fmt: skip


def _listed_worker(workers: Sequence[str], node_ip: str) -> str:
    """Return the name of the listed worker that has our address; empty when nobody is listed.

    Raises:
        InvalidInput: an entry is no NAME=ADDRESS.
        ClusterError: this machine is not among those that are listed.
    """
    pairs = [parse_worker(text) for text in workers]
    own = {node_ip, *own_addresses()}
    for name, address in pairs:
        if any(same_address(address, mine) for mine in own) or resolve(address) in own:
            return name
    if pairs:
        listed = ", ".join(f"{name}={address}" for name, address in pairs)
        raise ClusterError(
            f"This machine ({node_ip}) is none of the workers: {listed}.", "Add --worker NAME=ADDRESS for it."
        )
    return ""
