"""The certificate of the ingress: given to its proxy at the start, and again when it has been renewed."""

import time

from serve_apps.haproxy.environment import haproxy_directory, haproxy_environment
from serve_apps.haproxy.live_certificate import replace_certificate
from zejzl_ray.settings import Settings
from zejzl_ray.tls.credentials import load_credentials, own_machine, tls_directory
from zejzl_ray.tls.policy import ingress_credentials


def ingress_environment(settings: Settings) -> dict[str, str]:
    """Return what Ray's processes need in their environment on this machine to serve the ingress.

    Raises:
        ClusterError: it would listen beyond loopback without a certificate, or its directory cannot be used.
    """
    credentials = ingress_credentials(settings, time.time())
    return haproxy_environment(
        settings.data_path,
        bind_host=settings.bind_host,
        tls=credentials.files if credentials is not None else None,
        is_loopback_encrypted=settings.is_loopback_encrypted,
    )


def renew_in_running_ingress(settings: Settings) -> int:
    """Hand this machine's certificate to the proxies that run here; safe to repeat.

    Returns:
        How many have taken it; 0 where none runs with TLS.

    Raises:
        ClusterError: the certificate cannot be used, or a proxy does not take it.
    """
    directory = tls_directory(settings.data_path)
    machine = own_machine(directory)
    if machine is None:
        return 0
    credentials = load_credentials(directory, machine, time.time())
    return replace_certificate(haproxy_directory(settings.data_path), credentials.files)
