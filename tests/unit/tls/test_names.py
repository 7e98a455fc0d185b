import pytest

from zejzl_ray.errors import InvalidInput
from zejzl_ray.tls.names import certificate_names, check_machine


def test_a_machine_always_answers_to_its_own_name_and_on_loopback() -> None:
    names = certificate_names(
        "PC2", ("pc2.lan.", "pc2.lan"), ("192.168.1.11", "fe80::1%eth0", "192.168.1.11")
    )

    assert names.machine == "PC2"
    assert names.dns == ("pc2", "pc2.lan", "localhost")
    assert names.addresses == ("192.168.1.11", "fe80::1", "127.0.0.1", "::1")


@pytest.mark.parametrize(
    "machine", ["", "a/b", "..", ".a", "-a", "ca", "CA", "machine", "a b", "a" * 64, "ä"]
)
def test_a_name_that_cannot_be_that_of_a_file_is_refused(machine: str) -> None:
    with pytest.raises(InvalidInput, match="name of a machine"):
        check_machine(machine)


@pytest.mark.parametrize("name", ["*.lan", "", "a b", "-a.lan", "a..b", "x" * 300, "a\n"])
def test_wildcards_and_what_is_no_host_name_are_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="host name"):
        certificate_names("pc2", (name,), ())


@pytest.mark.parametrize("address", ["", "pc2", "192.168.1", "0.0.0.0", "::", "224.0.0.1", "1.2.3.4/8"])
def test_only_the_address_of_one_machine_is_taken(address: str) -> None:
    with pytest.raises(InvalidInput, match="address"):
        certificate_names("pc2", (), (address,))


def test_a_certificate_has_room_for_a_hundred_names() -> None:
    with pytest.raises(InvalidInput, match="More than 100"):
        certificate_names("pc2", [f"h{number}" for number in range(98)], ())
