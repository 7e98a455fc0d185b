"""The names of the machines, which the start commands of a cluster file give them."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from zejzl_ray.cluster_file.addresses import same_address
from zejzl_ray.cluster_file.environment import environment_faults
from zejzl_ray.cluster_file.start_command import StartCommand, parse_start_command
from zejzl_ray.errors import InvalidInput
from zejzl_ray.fleet.document import Items, Node, Scalar, Table
from zejzl_ray.fleet.finding import Place
from zejzl_ray.tls.names import check_machine

HEAD_COMMANDS: Final = "head_start_ray_commands"
WORKER_COMMANDS: Final = "worker_start_ray_commands"


@dataclass(frozen=True, slots=True)
class PlacedAddress:
    """An address, and where it stands."""

    text: str
    place: Place


class Say(Protocol):
    """Takes a finding: code, message, place, remedy, other places to look at."""

    def __call__(
        self, code: str, message: str, place: Place, remedy: str, related: tuple[Place, ...] = ()
    ) -> None:
        """Keep it."""


class MachineNames:
    """Reads both start commands.

    Args:
        root: the file.
        names: address -> name of machines that the fleet file declares.
        say: told what is wrong.
    """

    def __init__(self, root: Table, names: Mapping[str, str], say: Say) -> None:
        self._root = root
        self._names = names
        self._say = say

    def read(
        self, head: PlacedAddress | None, workers: list[PlacedAddress]
    ) -> tuple[StartCommand | None, StartCommand | None, str, list[str]]:
        """Return head's and workers' start command, the head's name and each worker's; empty where there is none."""
        start = self._start(HEAD_COMMANDS, is_head=True)
        worker_start = self._start(WORKER_COMMANDS, is_head=False) if workers else None
        head_name = self._head_name(start, head)
        names = self._worker_names(worker_start, workers, head_name)
        commands = (found[0] if found is not None else None for found in (start, worker_start))
        return next(commands), next(commands), head_name, names

    def start_text(self, section: str) -> str:
        """Return the start command of a section as it stands there; empty where there is none."""
        entry = self._root.get(section)
        nodes: tuple[Node, ...] = entry.node.items if entry and isinstance(entry.node, Items) else ()
        for node in nodes:
            with contextlib.suppress(InvalidInput):  # which is said elsewhere
                if isinstance(node, Scalar) and parse_start_command(node.text) is not None:
                    return node.text.strip()
        return ""

    def _start(self, section: str, *, is_head: bool) -> tuple[StartCommand, Place] | None:
        wanted = "zejzl node start --head" if is_head else "zejzl node start --address $RAY_HEAD_IP"
        entry = self._root.get(section)
        if entry is None:
            self._say(
                "missing",
                f"there is no {section}",
                Place(self._root.place.file, 1, 1),
                f"It holds `{wanted}`.",
            )
            return None
        nodes: tuple[Node, ...] = entry.node.items if isinstance(entry.node, Items) else ()
        found = []
        for node in nodes:
            if isinstance(node, Scalar):
                try:
                    command = parse_start_command(node.text)
                except InvalidInput as problem:
                    self._say("command", problem.message.rstrip("."), node.place, problem.remedy)
                    return None
                if command is not None:
                    found.append((command, node.place))
        if len(found) != 1 or found[0][0].is_head is not is_head:
            message = f"{section} must hold one `{wanted}`"
            self._say("command", message, entry.place, "Take it from the project's cluster.yaml.")
            return None
        for message, remedy in environment_faults(found[0][0].environment):
            self._say("setting", message, found[0][1], remedy)
        return found[0]

    def _head_name(self, start: tuple[StartCommand, Place] | None, head: PlacedAddress | None) -> str:
        if start is None:
            return ""
        command, place = start
        name = command.machine or self._names.get(head.text if head is not None else "", "")
        if not name:
            self._say("name", "the head has no name", place, "Add --machine mainpc to its start command.")
            return ""
        self._check_name(name, place)
        return name

    def _worker_names(
        self, start: tuple[StartCommand, Place] | None, workers: list[PlacedAddress], head_name: str
    ) -> list[str]:
        if start is None:
            return [""] * len(workers)
        command, place = start
        pairs = list(command.workers)
        if command.machine and len(workers) > 1:
            self._say(
                "name-twice",
                f"--machine {command.machine} gives {len(workers)} workers one name",
                place,
                "Write --worker NAME=ADDRESS once for each instead.",
            )
            return [""] * len(workers)
        if command.machine and workers:
            pairs.append((command.machine, workers[0].text))
        self._check_pairs(pairs, workers, head_name, place)
        found = []
        for worker in workers:
            name = next((name for name, address in pairs if same_address(address, worker.text)), "")
            name = name or self._names.get(worker.text, "")
            if not name:
                self._say(
                    "name",
                    f"the worker at {worker.text} has no name",
                    worker.place,
                    f"Add --worker NAME={worker.text} to the workers' start command in line {place.line}.",
                    (place,),
                )
            found.append(name)
        return found

    def _check_pairs(
        self, pairs: list[tuple[str, str]], workers: list[PlacedAddress], head_name: str, place: Place
    ) -> None:
        taken = {head_name.lower(): "the head"} if head_name else {}
        for name, address in pairs:
            self._check_name(name, place)
            holder = taken.get(name.lower())
            if holder is not None:
                message = f"two machines are called {name}: {holder} and {address}"
                self._say("name-twice", message, place, "Give each machine a name of its own.")
            taken.setdefault(name.lower(), address)
            if not any(same_address(address, worker.text) for worker in workers):
                message = f"{name} is said to be at {address}, which is not among provider.worker_ips"
                self._say("address", message, place, "Correct the address here or there.")

    def _check_name(self, name: str, place: Place) -> None:
        try:
            check_machine(name)
        except InvalidInput as problem:
            self._say("name", problem.message.rstrip("."), place, problem.remedy)
