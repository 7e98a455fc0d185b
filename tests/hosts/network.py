"""The wire between the test hosts: a bridge in a network namespace of its own, away from the machine's."""

import contextlib
from types import TracebackType

from tests.hosts.commands import CommandFailed, run_command

_LIMIT_S = 10.0


class Network:
    """A bridge with one port a host; a context manager. Addresses exist inside the namespaces only.

    Args:
        prefix: start of every name; see :func:`tests.hosts.leftovers.own_prefix`.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.namespace = f"{prefix}net"
        self._hosts: list[str] = []

    def __enter__(self) -> "Network":
        """Create the bridge."""
        _ip("netns", "add", self.namespace)
        try:
            _ip("-n", self.namespace, "link", "add", "br0", "type", "bridge")
            _ip("-n", self.namespace, "link", "set", "br0", "up")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove it."""
        self.close()

    def close(self) -> None:
        """Remove the bridge; safe to repeat. Its ports and the wires in them go with the namespace."""
        with contextlib.suppress(CommandFailed):
            _ip("netns", "del", self.namespace)

    def address(self, number: int) -> str:
        """Return the address of the host with this number, 1 to 254."""
        return address_of(number)

    def attach(self, namespace: str, number: int) -> None:
        """Give the host's namespace an ``eth0`` with its address, and a port on the bridge."""
        port = self._port(number)
        _ip(
            "-n",
            self.namespace,
            "link",
            "add",
            port,
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            namespace,
        )
        _ip("-n", self.namespace, "link", "set", port, "master", "br0")
        _ip("-n", self.namespace, "link", "set", port, "up")
        _ip("-n", namespace, "address", "add", f"{self.address(number)}/24", "dev", "eth0")
        _ip("-n", namespace, "link", "set", "eth0", "up")
        _ip("-n", namespace, "link", "set", "lo", "up")

    def unplug(self, number: int) -> None:
        """Cut the host off without a word, as a pulled cable does: packets are lost, nobody gets an error."""
        _ip("-n", self.namespace, "link", "set", self._port(number), "nomaster")

    def plug(self, number: int) -> None:
        """Connect the host again."""
        _ip("-n", self.namespace, "link", "set", self._port(number), "master", "br0")

    @staticmethod
    def _port(number: int) -> str:
        return f"port{number}"


def address_of(number: int) -> str:
    """Return the address of the host with this number, 1 to 254, in every network of the tests."""
    return f"10.77.0.{number}"


def _ip(*arguments: str) -> None:
    run_command(("ip", *arguments), timeout_s=_LIMIT_S)
