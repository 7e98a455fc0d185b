"""What a certificate is made out to: one machine, its DNS names and its addresses."""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from zejzl_ray.errors import InvalidInput

_MACHINE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_LABEL: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_DNS: Final = re.compile(rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*")
# `ca` is the name of the authority's own files, `machine` of the note that says which of them is this machine
_RESERVED: Final = frozenset({"ca", "machine"})
_ALWAYS_DNS: Final = "localhost"
_ALWAYS_ADDRESSES: Final = ("127.0.0.1", "::1")
_MAX_NAMES: Final = 100


@dataclass(frozen=True, slots=True)
class CertificateNames:
    """Names of one certificate; made by :func:`certificate_names`, which checks them.

    Attributes:
        machine: name of the machine; also the name of its files.
        dns: host names, lower case, without wildcards; the machine's name and ``localhost`` among them.
        addresses: IP addresses in their shortest spelling; the two of loopback among them.
    """

    machine: str
    dns: tuple[str, ...]
    addresses: tuple[str, ...]


def check_machine(machine: str) -> str:
    """Return the name of a machine if it can be the name of a file and of a certificate.

    Raises:
        InvalidInput: it cannot.
    """
    if not _MACHINE.fullmatch(machine) or machine.lower() in _RESERVED:
        raise InvalidInput(
            f"{machine!r} cannot be the name of a machine's certificate.",
            "Use 1 to 63 letters, digits, '-', '_' and '.', and neither 'ca' nor 'machine'.",
        )
    return machine


def certificate_names(machine: str, dns: Iterable[str], addresses: Iterable[str]) -> CertificateNames:
    """Return what the certificate of a machine is made out to.

    ``localhost``, 127.0.0.1 and ::1 are always added, and the machine's own name; doubles are dropped.

    Args:
        machine: its name.
        dns: further host names; a wildcard would let the machine pass for others and is refused.
        addresses: IPv4 or IPv6 addresses at which the others reach it.

    Raises:
        InvalidInput: a name or address cannot be used.
    """
    check_machine(machine)
    hosts = [name.lower().rstrip(".") for name in (machine, *dns, _ALWAYS_DNS)]
    for name in hosts:
        if not _DNS.fullmatch(name):
            raise InvalidInput(f"{name!r} is not a host name.", "Give it without wildcards, such as pc2.lan.")
    known = tuple(dict.fromkeys(hosts))
    ips = tuple(dict.fromkeys(_address(text) for text in (*addresses, *_ALWAYS_ADDRESSES)))
    if len(known) + len(ips) > _MAX_NAMES:
        raise InvalidInput(f"More than {_MAX_NAMES} names and addresses in one certificate.", "Name fewer.")
    return CertificateNames(machine, known, ips)


def _address(text: str) -> str:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        raise InvalidInput(f"{text!r} is not an IP address.", "Write it as 192.168.1.11.") from None
    if address.is_unspecified or address.is_multicast:
        raise InvalidInput(f"{text} is not the address of one machine.", "Write the one that others use.")
    return str(address)
