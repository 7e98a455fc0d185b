"""What old files say about groups of agents besides the agents: compose groups, and profiles of machines."""

from collections.abc import Mapping
from typing import Final

from zejzl_ray.fleet.document import Items, Node, Scalar, Table
from zejzl_ray.fleet.finding import Place
from zejzl_ray.fleet.topology import same_machine_name

DOCKER_GROUPS: Final = "docker_groups"


def member_places(node: Node) -> Mapping[str, Place]:
    """Return where each agent of a compose group is named, by ``docker_groups:<group>:<agent>``."""
    found: dict[str, Place] = {}
    for group in node.every if isinstance(node, Table) else ():
        members = group.node.get("agents") if isinstance(group.node, Table) else None
        if members is not None and isinstance(members.node, Items):
            for item in members.node.items:
                if isinstance(item, Scalar) and isinstance(item.value, str):
                    found.setdefault(f"{DOCKER_GROUPS}:{group.key}:{item.value}", item.place)
    return found


def machines_of_groups(root: Table) -> Mapping[str, tuple[str, ...]]:
    """Return, for each group that a machine profile enables, the machines whose profiles do."""
    found: dict[str, tuple[str, ...]] = {}
    profiles = root.get("machine_profiles")
    for profile in profiles.node.every if profiles is not None and isinstance(profiles.node, Table) else ():
        enabled = profile.node.get("enabled_groups") if isinstance(profile.node, Table) else None
        if enabled is not None and isinstance(enabled.node, Items):
            for item in enabled.node.items:
                if isinstance(item, Scalar):
                    machine = same_machine_name(profile.key)
                    found[item.text] = tuple(dict.fromkeys((*found.get(item.text, ()), machine)))
    return found
