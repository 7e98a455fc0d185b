"""What is set on each machine can be used there, and agrees where it must."""

import re
from collections.abc import Iterator
from typing import Final

from zejzl_ray.cluster.local_plan import gpu_settings
from zejzl_ray.cluster.node_ports import node_ports
from zejzl_ray.cluster_check.facts import ClusterFacts, MachineFacts, OwnFacts
from zejzl_ray.cluster_check.finding import Finding
from zejzl_ray.cluster_check.needed_ports import gcs_port_of
from zejzl_ray.cluster_file.environment import environment_faults, is_known
from zejzl_ray.errors import ZejzlError
from zejzl_ray.fleet.suggest import closest
from zejzl_ray.settings import given_settings, setting_names

_WHERE: Final = "Correct it in ~/.bashrc of that machine."
_NEAR: Final = 0.9  # variables of others may begin with ZEJZL_ too
_LEAST_OPEN_FILES: Final = 1024  # what Linux gives by default
_WITH_PORT: Final = re.compile(r"--address[ =]\S+:\d+")


def check_settings(facts: ClusterFacts) -> Iterator[Finding]:
    """Each setting can be used by the node, no two of them get in each other's way, and the head's port is one."""
    for machine, own in facts.knowing("settings"):
        name = machine.machine.name
        for what, remedy in _faults(name, own):
            yield Finding(name, "setting", what, remedy)
        if own.open_files is not None and 0 <= own.open_files < _LEAST_OPEN_FILES:
            what = (
                f"a process may open {own.open_files} files only (ulimit -n); Ray needs {_LEAST_OPEN_FILES}"
            )
            yield Finding(name, "setting", what, "Raise it in ~/.bashrc or /etc/security/limits.conf there.")
        for unknown in own.unknown_settings:
            near = "" if is_known(unknown) else closest(unknown, setting_names(), cutoff=_NEAR)
            if near:
                yield Finding(
                    name, "setting", f"{unknown} is set, and is no setting", f"Did you mean {near}? {_WHERE}"
                )
    yield from _other_ports(facts)


def _faults(name: str, own: OwnFacts) -> Iterator[tuple[str, str]]:
    environment = {f"ZEJZL_{setting}": value for setting, value in own.settings.items()}
    found = [(what, f"{_WHERE} {remedy}") for what, remedy in environment_faults(environment)]
    yield from found
    if found:
        return
    try:
        settings = given_settings(environment)
        node_ports(settings)
    except ZejzlError as error:
        yield error.message.rstrip("."), f"{_WHERE} {error.remedy}".strip()
        return
    try:
        gpu_settings(settings.model_copy(update={"gpu_cards": "", "simulated_gpus": ""}), name)
    except ZejzlError as error:  # the other two are those of the check of cards
        yield error.message.rstrip("."), error.remedy


def _other_ports(facts: ClusterFacts) -> Iterator[Finding]:
    """A worker looks for the head at the port that is set for itself."""
    head = facts.machines[0]
    if head.own is None or _WITH_PORT.search(facts.cluster.worker_start):
        return
    wanted = gcs_port_of(head.own.settings)
    for machine in facts.machines[1:]:
        port = _port(machine)
        if port is not None and port != wanted:
            yield Finding(
                machine.machine.name,
                "setting",
                f"it looks for the head at port {port}, and the head's is {wanted}",
                "Set ZEJZL_RAY_PORT to the same on all machines, in ~/.bashrc.",
            )


def _port(machine: MachineFacts) -> int | None:
    if machine.own is None or "settings" in machine.own.failed:
        return None
    return gcs_port_of(machine.own.settings)
