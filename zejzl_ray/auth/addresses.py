"""Which addresses may come in over HTTP, and which of them count as one caller."""

from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from zejzl_ray.contracts.policy import AddressPolicy
from zejzl_ray.errors import InvalidInput

_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_MAPPED_BITS: Final = 96
# A subscriber of IPv6 has at least so much for itself, so that single addresses would be no limit at all.
_ONE_CALLER: Final = 64


class AddressFilter:
    """Decides by allow and deny lists of IPv4 and IPv6 networks.

    Deny goes first; an allow list that is not empty admits only its own. An IPv4 address that is written as an IPv6
    one (``::ffff:10.0.0.5``) counts as IPv4. The cost of a decision grows with the number of different prefix lengths
    and not with that of the networks.

    Args:
        policy: the lists; an address without a prefix is that one address.

    Raises:
        InvalidInput: an entry is no network; the message names it.
    """

    def __init__(self, policy: AddressPolicy) -> None:
        self._allow = _Networks(policy.allow, "addresses.allow")
        self._deny = _Networks(policy.deny, "addresses.deny")

    def why_refused(self, address: str) -> str:
        """Return why the address may not come in; empty when it may."""
        if self._allow.is_empty and self._deny.is_empty:
            return ""
        known = parsed(address)
        if known is None:
            return "it is no IP address"
        if known in self._deny:
            return "it is on the deny list"
        if not self._allow.is_empty and known not in self._allow:
            return "it is not on the allow list"
        return ""


class _Networks:
    """Networks by version and prefix length."""

    def __init__(self, texts: Iterable[str], place: str) -> None:
        # (version, bits to drop) -> network numbers
        by_length: defaultdict[tuple[int, int], set[int]] = defaultdict(set)
        for text in texts:
            network = _network(text, place)
            drop = network.max_prefixlen - network.prefixlen
            by_length[network.version, drop].add(int(network.network_address) >> drop)
        self._by_length = dict(by_length)

    @property
    def is_empty(self) -> bool:
        return not self._by_length

    def __contains__(self, address: IPv4Address | IPv6Address) -> bool:
        number = int(address)
        return any(
            version == address.version and number >> drop in numbers
            for (version, drop), numbers in self._by_length.items()
        )


@lru_cache(maxsize=4096)
def parsed(address: str) -> IPv4Address | IPv6Address | None:
    """Return the address, IPv4 where it is one in IPv6's clothes; None when it is no address."""
    try:
        known = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    if isinstance(known, IPv6Address) and known.ipv4_mapped is not None:
        return known.ipv4_mapped
    return known


@lru_cache(maxsize=4096)
def caller_of(address: str) -> str:
    """Return what counts as one caller for the rate limit: an IPv4 address, or the first 64 bits of an IPv6 one."""
    known = parsed(address)
    if known is None:
        return address
    if isinstance(known, IPv6Address):
        return str(IPv6Network((int(known), _ONE_CALLER), strict=False))
    return str(known)


def _network(text: str, place: str) -> IPv4Network | IPv6Network:
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise InvalidInput(
            f"{place}: {text!r} is no network.", "Write it as 192.168.1.0/24, 192.168.1.7 or fd00::/8."
        ) from None
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        first = int(network.network_address) & 0xFFFF_FFFF
        return IPv4Network((first, network.prefixlen - _MAPPED_BITS))
    return network
