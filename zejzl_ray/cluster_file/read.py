"""From a cluster file to what it says, or to every fault with file, line and remedy; starts and asks nothing."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from zejzl_ray.cluster_file.addresses import address_fault, same_address
from zejzl_ray.cluster_file.fields import field_findings
from zejzl_ray.cluster_file.key_file import key_file_fault
from zejzl_ray.cluster_file.model import ClusterFile, DeclaredMachine
from zejzl_ray.cluster_file.start_command import StartCommand, parse_start_command
from zejzl_ray.errors import InvalidInput
from zejzl_ray.fleet.document import Items, Node, Scalar, Table, kind_of
from zejzl_ray.fleet.finding import Finding, Place, error
from zejzl_ray.fleet.yaml_reader import parse_document, read_document
from zejzl_ray.tls.names import check_machine

_USER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}\$?")
_HEAD_COMMANDS: Final = "head_start_ray_commands"
_WORKER_COMMANDS: Final = "worker_start_ray_commands"


@dataclass(frozen=True, slots=True)
class ReadClusterFile:
    """What became of a file: ``cluster`` is None where something is wrong, and then ``findings`` say what."""

    cluster: ClusterFile | None
    findings: tuple[Finding, ...]

    def require(self) -> ClusterFile:
        """Return what the file says.

        Raises:
            InvalidInput: something is wrong in it; one line a finding.
        """
        if self.cluster is None:
            raise InvalidInput("\n".join(str(finding) for finding in self.findings))
        return self.cluster


def read_cluster_file(path: Path, names: Mapping[str, str] | None = None) -> ReadClusterFile:
    """Read and check a cluster file.

    Args:
        path: the file.
        names: address -> name of machines that the fleet file declares, for workers that the file leaves unnamed.
    """
    document = read_document(path.expanduser())
    return _read(document.root, document.findings, str(path), names or {})


def parse_cluster_file(text: str, file: str, names: Mapping[str, str] | None = None) -> ReadClusterFile:
    """Check a cluster file that is not written yet; ``file`` is its name in findings."""
    document = parse_document(text.encode(), file)
    return _read(document.root, document.findings, file, names or {})


def _read(
    root: Table | None, findings: tuple[Finding, ...], file: str, names: Mapping[str, str]
) -> ReadClusterFile:
    if root is None or findings:
        return ReadClusterFile(None, tuple(findings))
    reader = _Reader(root, file, names)
    cluster = reader.cluster()
    found = (*field_findings(root), *reader.findings)
    if found:
        return ReadClusterFile(None, tuple(sorted(found, key=lambda finding: finding.sort_key)))
    return ReadClusterFile(cluster, ())


@dataclass(frozen=True, slots=True)
class _Address:
    text: str
    place: Place


class _Reader:
    """Goes through the fields in turn; what is wrong is collected, and reading goes on."""

    def __init__(self, root: Table, file: str, names: Mapping[str, str]) -> None:
        self.findings: list[Finding] = []
        self._root = root
        self._whole = Place(file, 1, 1)
        self._file = file
        self._names = names

    def cluster(self) -> ClusterFile:
        provider, auth = self._section("provider"), self._section("auth")
        self._require_local(provider)
        self._text(self._root, "cluster_name", "", "Name the cluster, for example cluster_name: zejzl.")
        head = self._head_address(provider)
        workers = self._worker_addresses(provider, head)
        user = self._user(auth)
        key = self._key(auth)
        proxy = self._optional_text(auth, "ssh_proxy_command")
        self._counts(len(workers))
        start = self._start(_HEAD_COMMANDS, is_head=True)
        worker_start = self._start(_WORKER_COMMANDS, is_head=False) if workers else None
        head_name = self._head_name(start, head)
        named = self._worker_names(worker_start, workers, head_name)
        command = start[0] if start is not None else None
        return ClusterFile(
            file=self._file,
            head=DeclaredMachine(name=head_name, address=head.text if head is not None else ""),
            workers=tuple(named),
            ssh_user=user,
            ssh_private_key=key,
            ssh_proxy_command=proxy or None,
            environment={
                name: value
                for name, value in (command.environment if command is not None else {}).items()
                if name.startswith("ZEJZL_")
            },
            copied=self._copied(),
        )

    def _say(
        self, code: str, message: str, place: Place, remedy: str, related: tuple[Place, ...] = ()
    ) -> None:
        self.findings.append(error(code, message, place, remedy=remedy, related=related))

    def _section(self, name: str) -> Table:
        entry = self._root.get(name)
        if entry is None:
            self._say("missing", f"there is no {name}", self._whole, f"Write the section {name}:.")
        elif isinstance(entry.node, Table):
            return entry.node
        else:
            self._say(
                "wrong-kind",
                f"{name} must be a mapping, not {kind_of(entry.node)}",
                entry.place,
                "Indent its fields.",
            )
        return Table({}, (), entry.place if entry is not None else self._whole)

    def _text(self, table: Table, key: str, above: str, remedy: str) -> tuple[str, Place] | None:
        entry = table.get(key)
        if entry is None:
            if table.entries or table is self._root:  # a missing section has been named already
                self._say("missing", f"there is no {above}{key}", table.place, remedy)
            return None
        if not isinstance(entry.node, Scalar) or not entry.node.text.strip():
            self._say(
                "wrong-kind", f"{above}{key} must be a text, not {kind_of(entry.node)}", entry.place, remedy
            )
            return None
        return entry.node.text.strip(), entry.node.place

    def _optional_text(self, table: Table, key: str) -> str:
        entry = table.get(key)
        return entry.node.text.strip() if entry is not None and isinstance(entry.node, Scalar) else ""

    def _require_local(self, provider: Table) -> None:
        found = self._text(provider, "type", "provider.", "Write type: local.")
        if found is not None and found[0] != "local":
            self._say("provider", f"the provider is {found[0]}, not local", found[1], "Write type: local.")

    def _head_address(self, provider: Table) -> _Address | None:
        remedy = "Write the head's address, for example head_ip: 192.168.1.10."
        found = self._text(provider, "head_ip", "provider.", remedy)
        return self._address(*found, "the head's address") if found is not None else None

    def _address(self, text: str, place: Place, what: str) -> _Address | None:
        fault = address_fault(text)
        if fault:
            remedy = "Write the address at which the other machines reach it, such as 192.168.1.10."
            self._say("address", f"{what} {text} {fault}", place, remedy)
            return None
        return _Address(text, place)

    def _worker_addresses(self, provider: Table, head: _Address | None) -> list[_Address]:
        entry = provider.get("worker_ips")
        if entry is None:
            return []
        remedy = "Write a list, for example worker_ips: [192.168.1.11]."
        if not isinstance(entry.node, Items):
            message = f"provider.worker_ips must be a list, not {kind_of(entry.node)}"
            self._say("wrong-kind", message, entry.place, remedy)
            return []
        found: list[_Address] = []
        for item in entry.node.items:
            if not isinstance(item, Scalar) or not item.text.strip():
                self._say(
                    "wrong-kind",
                    f"a worker's address must be a text, not {kind_of(item)}",
                    item.place,
                    remedy,
                )
                continue
            address = self._address(item.text.strip(), item.place, "the worker's address")
            if address is not None and self._is_new(address, head, found):
                found.append(address)
        return found

    def _is_new(self, address: _Address, head: _Address | None, others: list[_Address]) -> bool:
        if head is not None and same_address(address.text, head.text):
            self._say(
                "head-among-workers",
                f"{address.text} is the head's address and stands among the workers too",
                address.place,
                "Remove it here: the head is a node of the cluster by itself.",
                (head.place,),
            )
            return False
        twin = next((other for other in others if same_address(other.text, address.text)), None)
        if twin is not None:
            self._say(
                "address-twice",
                f"two workers have the address {address.text}",
                address.place,
                f"Correct one of them; the other is in line {twin.place.line}.",
                (twin.place,),
            )
        return twin is None

    def _user(self, auth: Table) -> str:
        remedy = "Write the user that ssh logs in as on all machines, for example ssh_user: zejzl."
        found = self._text(auth, "ssh_user", "auth.", remedy)
        if found is not None and not _USER.fullmatch(found[0]):
            self._say("user", f"{found[0]!r} is no user name", found[1], remedy)
        return found[0] if found is not None else ""

    def _key(self, auth: Table) -> Path | None:
        text = self._optional_text(auth, "ssh_private_key")
        entry = auth.get("ssh_private_key")
        if entry is None or not text:
            return None
        path = Path(text).expanduser()
        fault = key_file_fault(path)
        if fault is not None:
            self._say("key", fault.message, entry.node.place, fault.remedy)
        return path

    def _counts(self, workers: int) -> None:
        entry = self._root.get("max_workers")
        if entry is not None and isinstance(entry.node, Scalar) and entry.node.value != workers:
            self._count("max_workers", entry.node, workers)
        entry = self._root.get("min_workers")
        if entry is None:
            if workers:
                message = "there is no min_workers, so Ray starts the head alone"
                self._say("count", message, self._root.place, f"Write min_workers: {workers}.")
        elif isinstance(entry.node, Scalar) and entry.node.value != workers:
            self._count("min_workers", entry.node, workers)

    def _count(self, name: str, node: Scalar, workers: int) -> None:
        message = f"{name} is {node.text}, but worker_ips has {workers}"
        self._say("count", message, node.place, f"Write {name}: {workers}, so that all are started.")

    def _start(self, section: str, *, is_head: bool) -> tuple[StartCommand, Place] | None:
        wanted = "zejzl node start --head" if is_head else "zejzl node start --address $RAY_HEAD_IP"
        entry = self._root.get(section)
        if entry is None:
            self._say("missing", f"there is no {section}", self._whole, f"It holds `{wanted}`.")
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
        return found[0]

    def _head_name(self, start: tuple[StartCommand, Place] | None, head: _Address | None) -> str:
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
        self, start: tuple[StartCommand, Place] | None, workers: list[_Address], head_name: str
    ) -> list[DeclaredMachine]:
        if start is None:
            return []
        command, place = start
        pairs = list(command.workers)
        if command.machine and len(workers) > 1:
            self._say(
                "name-twice",
                f"--machine {command.machine} gives {len(workers)} workers one name",
                place,
                "Write --worker NAME=ADDRESS once for each instead.",
            )
            return []
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
            found.append(DeclaredMachine(name=name, address=worker.text))
        return found

    def _check_pairs(
        self, pairs: list[tuple[str, str]], workers: list[_Address], head_name: str, place: Place
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

    def _copied(self) -> dict[str, Path]:
        entry = self._root.get("file_mounts")
        if entry is None:
            return {}
        if not isinstance(entry.node, Table):
            message = f"file_mounts must be a mapping, not {kind_of(entry.node)}"
            self._say("wrong-kind", message, entry.place, 'Write "path there": "path here".')
            return {}
        texts: Callable[[Node], str] = lambda node: node.text if isinstance(node, Scalar) else ""  # noqa: E731
        return {
            mount.key: Path(texts(mount.node)).expanduser()
            for mount in entry.node.entries.values()
            if texts(mount.node)
        }
