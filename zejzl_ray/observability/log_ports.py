"""What reading the logs of all machines needs of others."""

from collections.abc import Sequence
from typing import Protocol

from zejzl_ray.contracts.logs import LogPage, ReadLogs


class MachineLogs(Protocol):
    """Reaches the node agents."""

    async def machines(self) -> Sequence[str]:
        """Return the names of the machines that have a node agent, also of those that are away.

        Raises:
            ZejzlError: nobody can be asked now.
        """
        ...

    async def read_logs(self, machine: str, request: ReadLogs) -> LogPage:
        """Return a page from the node agent of a machine.

        Raises:
            ZejzlError: it does not answer, or refuses.
        """
        ...
