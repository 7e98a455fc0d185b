"""Which machine this computer is."""

import pytest

from zejzl_ray.cluster.this_machine import address_towards, machine_of, resolve
from zejzl_ray.errors import ClusterError, MachineNotFound
from zejzl_ray.fleet.model import MachineDeclaration

_MACHINES = {
    "mainpc": MachineDeclaration(name="mainpc", address="10.0.0.1"),
    "pc2": MachineDeclaration(name="pc2", address="Office.local"),
    "pc3": MachineDeclaration(name="pc3"),
}


@pytest.mark.parametrize(
    ("node_ip", "host_name", "machine"),
    [
        ("10.0.0.1", "anything", "mainpc"),
        ("10.0.0.9", "office.local", "pc2"),
        ("10.0.0.9", "PC3.home", "pc3"),
        ("10.0.0.1", "pc3", "mainpc"),
    ],
)
def test_the_address_decides_before_the_name(node_ip: str, host_name: str, machine: str) -> None:
    assert machine_of(_MACHINES, node_ip, host_name) == machine


def test_a_stranger_is_told_what_is_declared() -> None:
    with pytest.raises(MachineNotFound, match=r"No machine .*mainpc \(10.0.0.1\).*--machine"):
        machine_of(_MACHINES, "10.0.0.9", "laptop")


def test_two_machines_at_one_address_are_no_answer() -> None:
    twins = {name: MachineDeclaration(name=name, address="10.0.0.1") for name in ("a", "b")}

    with pytest.raises(MachineNotFound, match="Several machines"):
        machine_of(twins, "10.0.0.1", "x")


def test_the_way_to_the_head_tells_the_own_address() -> None:
    assert address_towards("127.0.0.1:6379") == "127.0.0.1"


@pytest.mark.parametrize("address", ["127.0.0.1:none", "no.such.host.invalid:6379"])
def test_an_address_without_a_way_is_named(address: str) -> None:
    with pytest.raises(ClusterError, match=address.partition(":")[0]):
        address_towards(address)


def test_an_ip_address_resolves_to_itself_and_an_unknown_name_is_named() -> None:
    assert resolve("127.0.0.1") == "127.0.0.1"
    with pytest.raises(ClusterError, match=r"no\.such\.host\.invalid"):
        resolve("no.such.host.invalid")
