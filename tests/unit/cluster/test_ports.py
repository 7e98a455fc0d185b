"""Which ports are free, and what is said when one is not."""

import socket
from collections.abc import Iterator

import pytest

from zejzl_ray.cluster.ports import free_ports, is_port_free, require_distinct, require_free
from zejzl_ray.errors import ClusterError, PortInUse, SettingsInvalid

HOST = "127.0.0.1"


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server((HOST, 0)) as server:
        yield server.getsockname()[1]


def test_a_port_with_a_listener_is_not_free(taken: int) -> None:
    assert not is_port_free(HOST, taken)


@pytest.mark.parametrize("host", [HOST, "::1"])
def test_free_ports_are_free_and_different(host: str) -> None:
    ports = free_ports(5, host)
    assert len(set(ports)) == 5
    assert all(is_port_free(host, port) for port in ports)


def test_unwanted_ports_are_left_out() -> None:
    assert not set(free_ports(3, avoid=range(1, 20000))) & set(range(1, 20000))


def test_unwanted_ports_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = iter([5000, 5001])

    class Probe:
        def __init__(self, *_: object) -> None:
            self.number = next(numbers)

        def bind(self, address: tuple[str, int]) -> None: ...

        def getsockname(self) -> tuple[str, int]:
            return HOST, self.number

        def close(self) -> None: ...

    monkeypatch.setattr(socket, "socket", Probe)
    assert free_ports(1, avoid=[5000]) == [5001]


def test_all_taken_ports_are_named_with_their_settings(taken: int) -> None:
    (free,) = free_ports(1)
    with pytest.raises(PortInUse) as caught:
        require_free({"ZEJZL_A": taken, "ZEJZL_B": free}, HOST)
    assert f"{taken} (ZEJZL_A)" in str(caught.value)
    assert "ZEJZL_B" not in str(caught.value)


def test_free_ports_pass() -> None:
    first, second = free_ports(2)
    require_free({"ZEJZL_A": first, "ZEJZL_B": second}, HOST)
    require_distinct({"ZEJZL_A": first, "ZEJZL_B": second})


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
def test_an_address_of_another_machine_is_not_called_a_taken_port(host: str) -> None:
    with pytest.raises(ClusterError, match="ZEJZL_BIND_HOST") as caught:
        require_free({"ZEJZL_A": 7000}, host)
    assert not isinstance(caught.value, PortInUse)


def test_two_settings_with_one_port_are_named() -> None:
    with pytest.raises(SettingsInvalid, match="ZEJZL_A and ZEJZL_B both name port 7000"):
        require_distinct({"ZEJZL_A": 7000, "ZEJZL_B": 7000})
