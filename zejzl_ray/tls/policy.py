"""Where TLS is spoken: between machines and beyond loopback unless somebody says no, on loopback when asked."""

import ipaddress

from zejzl_ray.errors import ClusterError
from zejzl_ray.settings import Settings
from zejzl_ray.tls.credentials import Credentials, load_credentials, own_machine, tls_directory

RAY_WITHOUT_TLS = (
    "ZEJZL_RAY_TLS=off: what the machines of this cluster send each other, the Ray token too, is not encrypted. "
    "Whoever sees it can take the cluster over."
)


def ray_credentials(settings: Settings, machine: str, node_ip: str, now_s: float) -> Credentials | None:
    """Return the certificate with which a machine's Ray processes speak TLS.

    Args:
        settings: as read from the environment of the machine.
        machine: its name.
        node_ip: address at which the other machines reach it.
        now_s: wall time.

    Returns:
        None on loopback, and where ``ZEJZL_RAY_TLS`` is off.

    Raises:
        ClusterError: there is no certificate that the others would accept; says why and what to do.
    """
    if settings.ray_tls == "off" or ipaddress.ip_address(node_ip).is_loopback:
        return None
    try:
        return load_credentials(tls_directory(settings.data_path), machine, now_s, address=node_ip)
    except ClusterError as error:
        raise ClusterError(
            f"{machine} does not start in a cluster of several machines: {error.message}",
            f"{error.remedy} ZEJZL_RAY_TLS=off does without, on a network of which you trust every cable.",
        ) from None


def ingress_credentials(settings: Settings, now_s: float) -> Credentials | None:
    """Return the certificate that the ingress shows on this machine.

    Returns:
        None where it listens on loopback only and nobody asked for HTTPS there.

    Raises:
        ClusterError: it would listen beyond loopback, or shall speak HTTPS, and there is no certificate for it.
    """
    if not settings.is_exposed and settings.http_tls != "on":
        return None
    wish = (
        f"ZEJZL_BIND_HOST={settings.bind_host}: the ingress listens beyond loopback with HTTPS only"
        if settings.is_exposed
        else "ZEJZL_HTTP_TLS=on: the ingress needs a certificate"
    )
    directory = tls_directory(settings.data_path)
    machine = own_machine(directory)
    if machine is None:
        raise ClusterError(
            f"{wish}, and there is no certificate in {directory}.", "Make one with `zejzl tls init`."
        )
    try:
        return load_credentials(directory, machine, now_s, address=_one_address(settings.bind_host))
    except ClusterError as error:
        raise ClusterError(f"{wish}. {error.message}", error.remedy) from None


def _one_address(host: str) -> str:
    """Return the address that a certificate must name; empty for a host name or all addresses at once."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return ""
    return "" if address.is_unspecified else str(address)
