"""The ports of the cluster are free before the start, and open between the machines."""

from collections.abc import Iterator
from typing import Final

from zejzl_ray.cluster.node_ports import CONTROL_STORE
from zejzl_ray.cluster_check.facts import ClusterFacts, Link, MachineFacts, Phase, PortAnswer
from zejzl_ray.cluster_check.finding import Finding
from zejzl_ray.cluster_check.needed_ports import (
    RAYS_OWN,
    NeededPort,
    loopback_ports,
    outer_ports,
)

_HOW: Final = {
    "refused": "refuses connections",
    "timeout": "swallows connections",
    "error": "cannot be reached",
    "open": "is answered by something else",
}


def check_free_ports(facts: ClusterFacts) -> Iterator[Finding]:
    """Nothing else listens where a node and its services will."""
    for machine in facts.answering:
        if machine.own is None:
            continue
        outer = outer_ports(machine.own, is_head=machine.is_head)
        loopback = loopback_ports(machine.own, is_head=machine.is_head)
        for needs, answers in ((outer, machine.outer_ports), (loopback, machine.local_ports)):
            for need in needs:
                answer = answers.get(need.port)
                is_free = answer is None or answer.state == "listening"
                # A process that writes its own title hides whose it is; a node that runs has its ports itself.
                if (
                    answer is not None
                    and not is_free
                    and not need.is_of_many
                    and not machine.own.node.processes
                ):
                    yield from _not_free(machine.machine.name, need, answer, facts.phase)


def _not_free(machine: str, need: NeededPort, answer: PortAnswer, phase: Phase) -> Iterator[Finding]:
    holder = answer.holder or {}
    if holder.get("is_ours") and (phase is Phase.AFTER or holder.get("name") != "redis-server"):
        return
    setting = f", or set {need.setting} on all machines" if need.setting else ""
    if answer.state == "taken":
        who = (
            f"{holder['name']} (process {holder['pid']})" if holder.get("name") else "another user's program"
        )
        what = f"port {need.port}, which {need.what} needs, is taken by {who}"
        yield Finding(machine, "port", what, f"End that program{setting}.")
    else:
        what = f"nobody can listen on port {need.port} for {need.what}: {answer.error}"
        yield Finding(machine, "port", what, "Is the address in the cluster file one of this machine?")


def check_links(facts: ClusterFacts) -> Iterator[Finding]:
    """Each machine reaches what it needs of each other one."""
    said: set[tuple[str, str, str]] = set()
    for link in facts.links:
        target = facts.named(link.target)
        if target is None or _is_well(link) or _is_told_elsewhere(facts, link, target):
            continue
        key = (link.source, link.target, "name" if link.state == "unresolved" else link.what)
        if key not in said:
            said.add(key)
            yield _finding(link, target)


def _is_well(link: Link) -> bool:
    if link.state != "open":
        return False
    return not link.is_greeting_expected or bool(link.greeted_by)  # by whom is another check's


def _is_told_elsewhere(facts: ClusterFacts, link: Link, target: MachineFacts) -> bool:
    """A node that does not run refuses too; that is no matter of the network."""
    if facts.phase is Phase.BEFORE or link.state != "refused" or link.is_greeting_expected:
        return False
    if link.what not in (CONTROL_STORE, RAYS_OWN):
        return False
    process = "gcs_server" if link.what == CONTROL_STORE else "raylet"
    return target.own is None or target.own.node.process(process) is None


def _finding(link: Link, target: MachineFacts) -> Finding:
    address = target.machine.address
    if link.state == "unresolved":
        return Finding(
            link.source,
            "port",
            f"the name {address} of {link.target} cannot be resolved here",
            f"Write it into /etc/hosts of {link.source} or your DNS, or use the address itself.",
        )
    detail = f" ({link.error})" if link.error else ""
    return Finding(
        link.target,
        "port",
        f"port {link.port} ({link.what}) {_HOW.get(link.state, 'cannot be reached')} from {link.source}{detail}",
        f"Let {link.source} through the firewall of {link.target} to {_ports(link)}, and look at that of "
        f"{link.source} for what goes out.",
    )


def _ports(link: Link) -> str:
    is_any = link.is_greeting_expected and link.what != CONTROL_STORE and link.port > 32767
    if is_any:
        return "all TCP ports: Ray takes free ones"
    return (
        f"port {link.port} and the others that `zejzl node ports` lists"
        if link.what == RAYS_OWN
        else f"port {link.port}"
    )
