import pytest

from zejzl_ray.errors import InvalidInput
from zejzl_ray.orchestrator.endpoint import check_host, check_ports, endpoint_keys, reachable_host


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "0.0.0.0", "::1", "[fe80::1]", "mainpc", "gpu_1.lan", "pc-2.home.arpa."]
)
def test_addresses_and_host_names_are_accepted(host: str) -> None:
    check_host("Agent1", host)
    check_host("Agent1", host)


@pytest.mark.parametrize(
    "host", ["256.1.1.1", "1.2.3", "-pc", "pc-", "a..b", "host:80", "[nothing]", "a" * 64, "%"]
)
def test_what_is_neither_is_refused_with_the_agents_name(host: str) -> None:
    with pytest.raises(InvalidInput, match="Agent1"):
        check_host("Agent1", host)


def test_one_port_for_two_sockets_is_refused() -> None:
    with pytest.raises(InvalidInput, match="both 5000"):
        check_ports("Agent1", 5000, 5000)
    check_ports("Agent1", 5000, 5001)
    check_ports("Agent1", None, None)


def test_a_local_address_is_told_apart_by_its_machine() -> None:
    assert endpoint_keys("pc1", "0.0.0.0", 80, 81) == ("pc1|*:80", "pc1|*:81")
    assert endpoint_keys("pc1", "localhost", 80, None) == endpoint_keys("pc1", "127.0.0.2", 80, None)
    assert endpoint_keys("pc1", "127.0.0.1", None, 81) != endpoint_keys("pc2", "127.0.0.1", None, 81)


def test_without_a_machine_local_addresses_cannot_be_compared() -> None:
    assert endpoint_keys("", "127.0.0.1", 80, None) == ()


def test_a_network_address_is_the_same_whatever_the_machine() -> None:
    assert endpoint_keys("pc1", "Host.lan", 80, None) == endpoint_keys("", "host.lan", 80, None)


def test_an_agent_without_ports_has_no_endpoint() -> None:
    assert endpoint_keys("pc1", "10.0.0.1", None, None) == ()


def test_a_wildcard_is_reached_at_the_machines_address_else_here() -> None:
    assert reachable_host("0.0.0.0", "10.0.0.7") == "10.0.0.7"
    assert reachable_host("0.0.0.0", "") == "127.0.0.1"
    assert reachable_host("[::1]", "10.0.0.7") == "::1"
    assert reachable_host("10.0.0.9", "10.0.0.7") == "10.0.0.9"
