"""What a cluster file says, once nothing in it is wrong."""

from pathlib import Path

from pydantic import Field

from zejzl_ray.contracts.base import Contract


class DeclaredMachine(Contract):
    """One machine of the file."""

    name: str = Field(description="as in the label zejzl.io/machine")
    address: str = Field(description="IP address or host name, as the others reach it")


class CarriedRelease(Contract):
    """A release on its way: its folder here, and there."""

    here: Path = Field(description="with ~ resolved")
    there: str = Field(description="as the file has it, ~ and all")


class ClusterFile(Contract):
    """A cluster file of Ray's local provider whose start commands are those of zejzl."""

    file: str
    head: DeclaredMachine
    workers: tuple[DeclaredMachine, ...]
    ssh_user: str
    ssh_private_key: Path | None = Field(default=None, description="with ~ resolved; None: ssh chooses")
    ssh_proxy_command: str | None = None
    environment: dict[str, str] = Field(
        default_factory=dict, description="ZEJZL_ variables that the head's start command sets"
    )
    worker_environment: dict[str, str] = Field(
        default_factory=dict, description="the same of the workers' start command"
    )
    copied: dict[str, Path] = Field(
        default_factory=dict, description="path on the machines -> path here, as `ray up` copies them"
    )

    carried_release: CarriedRelease | None = Field(
        default=None,
        description="what `ray up` installs; None: the machines have an environment of their own",
    )
    head_start: str = Field(default="", description="shell command that starts the head's node")
    worker_start: str = Field(default="", description="the same for a worker; empty without workers")

    @property
    def machines(self) -> tuple[DeclaredMachine, ...]:
        """All of them, head first."""
        return (self.head, *self.workers)
