"""Whether a text can be the address of one machine in a network."""

import ipaddress
import re
from typing import Final

_LABEL: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST: Final = re.compile(rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*\.?")
_NUMBERS: Final = re.compile(r"[0-9.]+")


def address_fault(text: str) -> str:
    """Return what is wrong with an address, as the end of a sentence about it; empty when nothing is.

    A host name is fine; whether it is known is not looked at.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        if _NUMBERS.fullmatch(text) or ":" in text:
            return "is no IP address"
        if text.lower() == "localhost" or text.lower().endswith(".localhost"):
            return "is another machine on each machine"
        return "" if _HOST.fullmatch(text) else "is neither an IP address nor a host name"
    if address.is_loopback:
        return "is another machine on each machine"
    if address.version == 6:
        return "is an IPv6 address, which the machines do not speak with each other"
    if address.is_unspecified or address.is_multicast or str(address) == "255.255.255.255":
        return "is not the address of one machine"
    return ""


def same_address(first: str, second: str) -> bool:
    """Return whether two texts are one address in different spelling; names are not looked up."""
    return _spelt(first) == _spelt(second)


def _spelt(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return text.lower().rstrip(".")
