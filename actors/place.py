"""Starting a service actor: all Ray options in one place, and what a shell learns of its surroundings."""

import os
import sys
from dataclasses import dataclass
from typing import Any

import ray
from pydantic import SecretStr
from ray.actor import ActorHandle

from zejzl_ray.cluster.names import MACHINE_LABEL
from zejzl_ray.cluster.topology import ServicePlace, scheduling_options
from zejzl_ray.log import configure_logging, files_of, flush_logging, get_logger
from zejzl_ray.settings import Settings
from zejzl_ray.shell import Identity

SERVICE_CPUS = 0.01  # a placeholder share: services are mostly idle, and agents need the cores
MAX_CONCURRENCY = 4096  # calls that may wait in one service at once; long polls are the most of them


@dataclass(frozen=True, slots=True)
class ServiceOptions:
    """What the composition root hands to a service actor.

    Attributes:
        settings: as read from the environment.
        credential: proof of which service it is; exchanged for short-lived tokens.
    """

    settings: Settings
    credential: SecretStr


def start_service(
    actor: type[Any], place: ServicePlace, options: ServiceOptions, *, namespace: str
) -> "ActorHandle[Any]":
    """Start a service actor or return the running one; safe to repeat.

    The actor is detached (it outlives the starter), restarted for ever, and lives at its home or fallback
    machine. A caller's retry is safe because every command carries a request id; Ray's own task retries stay off, so
    that the caller decides.
    """
    handle: ActorHandle[Any] = (
        ray.remote(actor)
        .options(
            name=place.service,
            namespace=namespace,
            get_if_exists=True,
            lifetime="detached",
            max_restarts=-1,
            max_task_retries=0,
            max_concurrency=MAX_CONCURRENCY,
            enable_task_events=False,  # its calls never end, and Ray's control store would keep 100,000 of them
            num_cpus=SERVICE_CPUS,
            **scheduling_options(place),
        )
        .remote(options)
    )
    return handle


def own_identity(service: str) -> Identity:
    """Return where this process runs, as Ray tells it."""
    context = ray.get_runtime_context()
    machine = str(context.get_node_labels().get(MACHINE_LABEL, ""))
    return Identity(service=service, machine=machine, node_id=context.get_node_id())


def machine_addresses() -> set[str]:
    """Return the addresses of the machines that are in the cluster now; the nodes of one machine share one."""
    return {str(node["NodeManagerAddress"]) for node in ray.nodes() if node["Alive"]}


def end_process(reason: str) -> None:
    """End this worker at once; Ray starts another one. Used when a newer writer has taken over."""
    get_logger("actors").error("process ends", reason=reason)
    flush_logging()
    sys.stderr.flush()
    os._exit(1)


def prepare_process(service: str, settings: Settings, machine: str = "") -> None:
    """Set up logging of a service's process, with files where the machine is known."""
    files = files_of(settings.logs, machine) if machine else None
    configure_logging(settings.log_level, service=service, machine=machine, files=files)
