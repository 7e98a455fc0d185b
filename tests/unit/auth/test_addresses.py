"""Who may come in, by address."""

import pytest

from zejzl_ray.auth.addresses import AddressFilter, caller_of
from zejzl_ray.contracts.policy import AddressPolicy
from zejzl_ray.errors import InvalidInput


def filter_of(allow: tuple[str, ...] = (), deny: tuple[str, ...] = ()) -> AddressFilter:
    return AddressFilter(AddressPolicy(allow=allow, deny=deny))


@pytest.mark.parametrize("address", ["10.0.0.5", "2001:db8::1", "no address", ""])
def test_without_lists_everybody_may_come_in(address: str) -> None:
    assert filter_of().why_refused(address) == ""


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("10.0.0.5", ""),
        ("10.0.0.66", "it is on the deny list"),
        ("10.1.0.1", "it is not on the allow list"),
        ("fd00::7", ""),
        ("fd00:0:0:66::1", "it is on the deny list"),
        ("2001:db8::1", "it is not on the allow list"),
        ("::ffff:10.0.0.5", ""),
        ("::ffff:10.0.0.66", "it is on the deny list"),
        ("fd00::7%eth0", ""),
        ("10.0.0.5.6", "it is no IP address"),
    ],
)
def test_deny_goes_first_and_an_allow_list_admits_only_its_own(address: str, why: str) -> None:
    lists = filter_of(allow=("10.0.0.0/24", "fd00::/8"), deny=("10.0.0.66", "fd00:0:0:66::/64"))
    assert lists.why_refused(address) == why


def test_a_deny_list_alone_keeps_out_only_its_own() -> None:
    lists = filter_of(deny=("10.0.0.0/8",))
    assert lists.why_refused("10.200.1.1")
    assert lists.why_refused("192.168.1.1") == ""


def test_ipv4_networks_may_be_written_the_ipv6_way() -> None:
    lists = filter_of(deny=("::ffff:10.0.0.0/104",))
    assert lists.why_refused("10.200.1.1")
    assert lists.why_refused("11.0.0.1") == ""


def test_the_number_of_an_ipv4_address_is_not_that_of_an_ipv6_one() -> None:
    assert filter_of(deny=("0.0.0.1",)).why_refused("::1") == ""


def test_a_network_with_host_bits_is_taken_as_the_network() -> None:
    assert filter_of(deny=("10.0.0.7/24",)).why_refused("10.0.0.200")


@pytest.mark.parametrize("text", ["999.1.1.1", "10.0.0.0/33", "fd00::/129"])
def test_an_entry_that_is_no_network_is_named(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"addresses\.deny: '.*' is no network") as caught:
        filter_of(deny=(text,))
    assert text in caught.value.message


@pytest.mark.parametrize(
    ("address", "caller"),
    [
        ("10.0.0.5", "10.0.0.5"),
        ("::ffff:10.0.0.5", "10.0.0.5"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("somewhere", "somewhere"),
    ],
)
def test_a_subscriber_of_ipv6_counts_as_one_caller(address: str, caller: str) -> None:
    assert caller_of(address) == caller
