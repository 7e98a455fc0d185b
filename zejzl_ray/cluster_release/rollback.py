"""The way back to the release before: which one, whether its code can read the state, and each machine's turn."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from zejzl_ray.cluster.node_start import NodeRole
from zejzl_ray.cluster_check.reach import Reach
from zejzl_ray.cluster_file.model import ClusterFile, DeclaredMachine
from zejzl_ray.contracts.base import Contract
from zejzl_ray.errors import ClusterError, Conflict, InvalidInput, NotFound
from zejzl_ray.release.folder import INSTALLER

_MARKER: Final = "ZEJZL-RELEASES:"
_NODE: Final = "ZEJZL-NODE:"
_TELL_NODE: Final = f"""
import json, os
with open(os.path.expanduser("~/.local/share/zejzl/node_intent.json")) as file:
    intent = json.load(file)
print("{_NODE}" + json.dumps([intent["is_wanted"], intent["plan"]["node"]["role"]]))
"""
_ASK_LIMIT_S: Final = 60.0
_START_LIMIT_S: Final = 240.0


class InstalledRelease(BaseModel):
    """A release as a machine tells of it; another version may tell more."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    state_format: int
    is_current: bool
    is_previous: bool
    was_left: bool
    settings: dict[str, str] | None = None


class MachineReleases(Contract):
    """What is installed on one machine, and whether its node shall run, as what."""

    machine: DeclaredMachine
    installed: tuple[InstalledRelease, ...]
    is_wanted: bool = False
    is_head: bool = Field(default=False, description="its node was started as the head, or has taken over")

    def named(self, release: str) -> InstalledRelease | None:
        """Return the release of that name if it is installed."""
        return next((found for found in self.installed if found.id == release), None)

    @property
    def current(self) -> InstalledRelease | None:
        """The one that the next start takes."""
        return next((found for found in self.installed if found.is_current), None)


class RollbackPlan(Contract):
    """Where to, and from where."""

    target: str
    leaving: str
    is_up: bool


def plan_rollback(
    machines: Sequence[MachineReleases], *, to: str = "", is_state_restored: bool = False
) -> RollbackPlan:
    """Return what to do; refuses what would leave the cluster in two halves, or with a state that nobody can read.

    Args:
        machines: head first.
        to: a release; empty for the one before on the head. Where a rollback was cut off, the same as then.
        is_state_restored: the state is of the time of the target.

    Raises:
        NotFound: there is no release before.
        Conflict: a machine lacks the target, or its code cannot read the state; or another machine is the head, which
            the start of the declared one would be refused for.
    """
    head = machines[0]
    acting = next((found for found in machines[1:] if found.is_wanted and found.is_head), None)
    if acting is not None:
        raise Conflict(
            f"{acting.machine.name} is the head since its takeover; nothing is changed.",
            "Run `zejzl cluster handback` first.",
        )
    current = head.current
    before = next((found for found in head.installed if found.is_previous and not found.is_current), None)
    if before is None:  # a change that was cut off between its two links
        before = next((found for found in head.installed if found.was_left), None)
    if current is None:
        raise NotFound(f"No release is installed on {head.machine.name}.", "Run `ray up`.")
    if to:
        target, leaving = to, current.id if current.id != to or before is None else before.id
    elif before is None:
        raise NotFound(f"There is no release before {current.id} on {head.machine.name}.")
    elif before.was_left:  # gone back already, or half of it: the rest is done now
        target, leaving = current.id, before.id
    else:
        target, leaving = before.id, current.id
    lacking = [found.machine.name for found in machines if found.named(target) is None]
    if lacking:
        raise Conflict(
            f"Release {target} is not installed on {', '.join(lacking)}; nothing is changed.",
            "`zejzl release list` there shows what is; build that release anew and use `zejzl release send`.",
        )
    there, left = head.named(target), head.named(leaving)
    if (
        there is not None
        and left is not None
        and there.state_format < left.state_format
        and not is_state_restored
    ):
        raise Conflict(
            f"Release {target} cannot read what {leaving} has written (state format {there.state_format} and "
            f"{left.state_format}); nothing is changed.",
            "`ray down`, then `zejzl backup restore` the back-up from before the upgrade, which loses what was "
            "acknowledged since, then `zejzl rollback --state-restored` and `ray up`.",
        )
    return RollbackPlan(target=target, leaving=leaving, is_up=head.is_wanted)


def start_text(
    command: str, settings: Mapping[str, str] | None, names: Sequence[str], head_address: str
) -> str:
    """Return the shell text that starts a node with the settings that its release had.

    Args:
        command: start command of the cluster file.
        settings: of the release's last start; None leaves those of the login shell.
        names: variables that are settings; those that the release had not are taken away.
        head_address: what the command calls ``$RAY_HEAD_IP``.
    """
    parts = [f"export RAY_HEAD_IP={shlex.quote(head_address)}"]
    if settings is not None:
        parts.append(f"unset {' '.join(sorted(names))}")
        parts += [f"export {name}={shlex.quote(value)}" for name, value in sorted(settings.items())]
    return "; ".join([*parts, " ".join(command.split())])


class Rollback:
    """Goes back on all machines of a cluster.

    Args:
        cluster: names them and how their nodes start.
        reach: the way to them.
        names: variables that are settings.
        say: told how far it is.

    Raises:
        InvalidInput: the cluster file carries no release.
    """

    def __init__(
        self, cluster: ClusterFile, reach: Reach, names: Sequence[str], say: Callable[[str], None]
    ) -> None:
        if cluster.carried_release is None:
            raise InvalidInput(
                f"{cluster.file} carries no release.",
                "Machines with an environment of their own have no release before; update that environment.",
            )
        self._cluster = cluster
        self._reach = reach
        self._names = names
        self._say = say
        self._installer = f"python3 {cluster.carried_release.there}/{INSTALLER}"

    def run(self, *, to: str = "", is_state_restored: bool = False) -> RollbackPlan:
        """Change all machines to the release before, and start the nodes that run from it; safe to repeat.

        Code and config are those of that release, settings those it was last started with; the state stays as it is.

        Raises:
            NotFound, Conflict: as ``plan_rollback``; nothing is changed.
            ClusterError: a machine cannot be reached, or its node does not start; names it.
        """
        machines = self._reach.on_all(self._ask, self._cluster.machines)
        plan = plan_rollback(machines, to=to, is_state_restored=is_state_restored)
        # The head last: as long as it is as it was, a repeated command decides the same.
        workers, head = self._cluster.workers, self._cluster.head
        use = f"{self._installer} use {shlex.quote(plan.target)} --leaving {shlex.quote(plan.leaving)}"
        self._reach.on_all(lambda machine: self._reach.command(machine, use, limit_s=_ASK_LIMIT_S), workers)
        self._reach.command(head, use, limit_s=_ASK_LIMIT_S)
        self._say(f"all machines: {plan.leaving} -> {plan.target}")
        if plan.is_up:
            settings = {found.machine.name: found.named(plan.target) for found in machines}
            self._start(head, self._cluster.head_start, settings[head.name])
            self._reach.on_all(
                lambda machine: self._start(machine, self._cluster.worker_start, settings[machine.name]),
                workers,
            )
        return plan

    def _ask(self, machine: DeclaredMachine) -> MachineReleases:
        node = f"python3 -c {shlex.quote(_TELL_NODE)} 2>/dev/null"
        said = self._reach.command(
            machine, f"{self._installer} list && {{ {node}; true; }}", limit_s=_ASK_LIMIT_S
        )
        try:
            rows = TypeAdapter(tuple[InstalledRelease, ...]).validate_json(_line(said, _MARKER))
            is_wanted, role = TypeAdapter(tuple[bool, str]).validate_json(_line(said, _NODE) or '[false, ""]')
        except ValidationError:
            raise ClusterError(
                f"{machine.name} does not say which releases it has.", "Run `zejzl release send`."
            ) from None
        return MachineReleases(
            machine=machine, installed=rows, is_wanted=is_wanted, is_head=role == NodeRole.HEAD
        )

    def _start(self, machine: DeclaredMachine, command: str, release: InstalledRelease | None) -> None:
        self._say(f"{machine.name}: starting its node")
        settings = release.settings if release is not None else None
        text = start_text(command, settings, self._names, self._cluster.head.address)
        self._reach.command(machine, text, limit_s=_START_LIMIT_S)


def _line(said: str, marker: str) -> str:
    """Return what follows the marker in the line that begins with it; empty where there is none."""
    line = next((line for line in said.splitlines() if line.startswith(marker)), "")
    return line.removeprefix(marker)
