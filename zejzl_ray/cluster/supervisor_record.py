"""What is written down about the node of this machine, so that a second start and a stop find it."""

import os
from pathlib import Path
from typing import Final, Self

import psutil
from pydantic import Field

from zejzl_ray.cluster.local_record import read_local_record
from zejzl_ray.cluster.node_start import NodeStart
from zejzl_ray.cluster.private_file import write_private_file
from zejzl_ray.contracts.base import Contract

FILE_NAME: Final = "node.json"
UNASKED: Final = "it could not ask whether another machine has become the head"
ENDING: Final = ("stopping", "stopped", "failed")
"""States of a supervisor that is about to be gone."""


class SupervisorRecord(Contract):
    """The supervisor of this machine's node, and what it started."""

    node: NodeStart
    pid: int
    started_at_s: float
    state: str = Field(
        default="starting",
        description="starting, up, waiting (the head does not answer, so there is nothing to join), restarting, "
        "stopping, stopped, failed (it has given up); of another release perhaps something else",
    )
    note: str = ""
    restarts: int = Field(default=0, description="of the node or a part of it, since this supervisor runs")

    @classmethod
    def of_this_process(cls, node: NodeStart) -> Self:
        """Return the record of a supervisor that is this process and has only begun."""
        return cls(node=node, pid=os.getpid(), started_at_s=psutil.Process().create_time())

    @property
    def is_alive(self) -> bool:
        """Whether the very process that wrote the record runs; its id may have been given away again."""
        try:
            process = psutil.Process(self.pid)
            return (
                process.status() != psutil.STATUS_ZOMBIE
                and abs(process.create_time() - self.started_at_s) < 2.0
            )
        except psutil.Error:
            return False

    @property
    def is_unasked(self) -> bool:
        """Whether a head has started, or is about to, without a word from those who may have taken over."""
        return self.note.startswith(UNASKED)

    def write(self, data_dir: Path) -> None:
        """Replace the record atomically; mode 0600.

        Raises:
            ClusterError: the directory cannot be written.
        """
        write_private_file(data_dir / FILE_NAME, self.model_dump_json(indent=2))


def read_supervisor_record(data_dir: Path) -> SupervisorRecord | None:
    """Return the record of this machine's node; None when there is none.

    Raises:
        ClusterError: it cannot be read or understood.
    """
    return read_local_record(data_dir / FILE_NAME, SupervisorRecord)


def remove_supervisor_record(data_dir: Path) -> None:
    """Forget the node; safe to repeat."""
    (data_dir / FILE_NAME).unlink(missing_ok=True)
