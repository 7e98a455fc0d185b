"""Every machine can be asked, under an address that is its own."""

from collections.abc import Iterator
from ipaddress import ip_address
from typing import Final

from zejzl_ray.cluster_check.facts import ClusterFacts
from zejzl_ray.cluster_check.finding import Finding

SAME_ADDRESS: Final = "same-address"


def check_ssh(facts: ClusterFacts) -> Iterator[Finding]:
    """Each machine lets the user in with the key, and answers."""
    for machine in facts.machines:
        if machine.ssh_fault is not None:
            yield Finding(machine.machine.name, "ssh", machine.ssh_fault.what, machine.ssh_fault.remedy)


def check_addresses(facts: ClusterFacts) -> Iterator[Finding]:
    """No two machines share an address, under whatever names, and none answers in the place of another."""
    holders: dict[str, str] = {}
    for machine in facts.machines:
        inner = [
            address for address in machine.addresses if ip_address(address.partition("%")[0]).is_loopback
        ]
        if inner:
            yield Finding(
                machine.machine.name,
                "loopback",
                f"the name {machine.machine.address} is {inner[0]} on this computer, which no other machine reaches",
                "Write the address itself into the cluster file, or correct /etc/hosts.",
            )
        for address in machine.addresses:
            holder = holders.setdefault(address, machine.machine.name)
            if holder != machine.machine.name:
                yield Finding(
                    machine.machine.name,
                    SAME_ADDRESS,
                    f"{machine.machine.address} is {address}, which is the address of {holder} too",
                    "Correct one of the two in the cluster file, in /etc/hosts or in your DNS.",
                )
                break
    said = set()
    for link in facts.links:
        if link.greeted_by and link.greeted_by != link.target and link.target not in said:
            said.add(link.target)
            target = facts.named(link.target)
            address = target.machine.address if target is not None else ""
            yield Finding(
                link.source,
                "address",
                f"from here {address} leads to {link.greeted_by}, not to {link.target}",
                f"Correct what {link.source} knows of {address}: /etc/hosts, DNS, routes.",
            )
