"""What the head learns from the file that `ray up` puts there: its address, and the way to the workers."""

from pathlib import Path
from typing import Any

import yaml

from zejzl_ray.contracts.base import Contract
from zejzl_ray.errors import ClusterError


class LauncherConfig(Contract):
    """The few fields of the launcher's file that matter here."""

    head_ip: str
    worker_ips: tuple[str, ...] = ()
    ssh_user: str = ""
    ssh_private_key: str | None = None
    ssh_proxy_command: str | None = None


def read_launcher_config(path: Path) -> LauncherConfig:
    """Read ``ray_bootstrap_config.yaml``.

    Raises:
        ClusterError: the file is missing or is not one of the local provider.
    """
    try:
        document: Any = yaml.safe_load(path.expanduser().read_text())
        provider, auth = document["provider"], document.get("auth") or {}
        return LauncherConfig(
            head_ip=str(provider["head_ip"]),
            worker_ips=tuple(str(address) for address in provider.get("worker_ips") or ()),
            ssh_user=str(auth.get("ssh_user") or ""),
            ssh_private_key=auth.get("ssh_private_key"),
            ssh_proxy_command=auth.get("ssh_proxy_command"),
        )
    except OSError as error:
        raise ClusterError(
            f"Cannot read {path}: {error.strerror}.", "`ray up` puts it on the head."
        ) from None
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise ClusterError(
            f"{path} is not a cluster file of Ray's local provider ({type(error).__name__}).",
            "It needs provider.head_ip and provider.worker_ips.",
        ) from None


def worker_stop_commands(config: LauncherConfig, command: str) -> tuple[tuple[str, ...], ...]:
    """Return one ssh command a worker that runs ``command`` there; never asks, connects within 5 s."""
    options = ["-o", "BatchMode=yes", "-o", "ConnectTimeout=5", "-o", "StrictHostKeyChecking=no"]
    options += ["-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
    if config.ssh_private_key:
        options += ["-i", str(Path(config.ssh_private_key).expanduser())]
    if config.ssh_proxy_command:
        options += ["-o", f"ProxyCommand={config.ssh_proxy_command}"]
    user = f"{config.ssh_user}@" if config.ssh_user else ""
    return tuple(("ssh", *options, f"{user}{address}", command) for address in config.worker_ips)
