"""From a cluster file to what it says, or to every fault with file, line and remedy; starts and asks nothing."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from zejzl_ray.cluster_file.addresses import address_fault, same_address
from zejzl_ray.cluster_file.fields import field_findings, in_own_words
from zejzl_ray.cluster_file.key_file import key_file_fault
from zejzl_ray.cluster_file.machine_names import HEAD_COMMANDS, WORKER_COMMANDS, MachineNames, PlacedAddress
from zejzl_ray.cluster_file.model import ClusterFile, DeclaredMachine
from zejzl_ray.cluster_file.release import read_carried_release
from zejzl_ray.cluster_file.start_command import StartCommand
from zejzl_ray.errors import InvalidInput
from zejzl_ray.fleet.document import Items, Scalar, Table, kind_of
from zejzl_ray.fleet.finding import Finding, Place, error
from zejzl_ray.fleet.yaml_reader import parse_document, read_document

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_USER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}\$?")


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
        return ReadClusterFile(None, in_own_words(findings, "Write one with `zejzl cluster init`."))
    reader = _Reader(root, file, names)
    cluster = reader.cluster()
    found = (*field_findings(root), *reader.findings)
    if found:
        return ReadClusterFile(None, tuple(sorted(found, key=lambda finding: finding.sort_key)))
    return ReadClusterFile(cluster, ())


def _settings_of(command: StartCommand | None) -> dict[str, str]:
    environment = command.environment if command is not None else {}
    return {name: value for name, value in environment.items() if name.startswith("ZEJZL_")}


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
        remedy = "Name the cluster, for example cluster_name: zejzl."
        name = self._text(self._root, "cluster_name", "", remedy)
        if name is not None and not _NAME.fullmatch(name[0]):
            what = f"cluster_name {name[0]!r} holds more than letters, digits, '.', '_' and '-'"
            self._say("name", what, name[1], remedy)
        head = self._head_address(provider)
        workers = self._worker_addresses(provider, head)
        user = self._user(auth)
        key = self._key(auth)
        proxy = self._optional_text(auth, "ssh_proxy_command")
        self._counts(self._declared_workers(provider))
        self._require_number("idle_timeout_minutes")
        self._require_number("upscaling_speed")
        names = MachineNames(self._root, self._names, self._say)
        command, worker_command, head_name, worker_names = names.read(head, workers)
        copied = self._copied()
        program = command.program if command is not None else None
        return ClusterFile(
            file=self._file,
            head=DeclaredMachine(name=head_name, address=head.text if head is not None else ""),
            workers=tuple(
                DeclaredMachine(name=name, address=worker.text)
                for name, worker in zip(worker_names, workers, strict=True)
            ),
            ssh_user=user,
            ssh_private_key=key,
            ssh_proxy_command=proxy or None,
            environment=_settings_of(command),
            worker_environment=_settings_of(worker_command),
            copied=copied,
            carried_release=read_carried_release(self._root, copied, program, self._say),
            head_start=names.start_text(HEAD_COMMANDS) if command is not None else "",
            worker_start=names.start_text(WORKER_COMMANDS) if command is not None else "",
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
        if entry is None:
            return ""
        if not isinstance(entry.node, Scalar):
            message = f"{key} must be a text, not {kind_of(entry.node)}"
            self._say("wrong-kind", message, entry.place, "Write it behind the colon.")
            return ""
        return entry.node.text.strip()

    def _require_local(self, provider: Table) -> None:
        found = self._text(provider, "type", "provider.", "Write type: local.")
        if found is not None and found[0] != "local":
            self._say("provider", f"the provider is {found[0]}, not local", found[1], "Write type: local.")

    def _head_address(self, provider: Table) -> PlacedAddress | None:
        remedy = "Write the head's address, for example head_ip: 192.168.1.10."
        found = self._text(provider, "head_ip", "provider.", remedy)
        return self._address(*found, "the head's address") if found is not None else None

    def _address(self, text: str, place: Place, what: str) -> PlacedAddress | None:
        fault = address_fault(text)
        if fault:
            remedy = "Write the address at which the other machines reach it, such as 192.168.1.10."
            self._say("address", f"{what} {text} {fault}", place, remedy)
            return None
        return PlacedAddress(text, place)

    def _worker_addresses(self, provider: Table, head: PlacedAddress | None) -> list[PlacedAddress]:
        entry = provider.get("worker_ips")
        if entry is None:
            return []
        remedy = "Write a list, for example worker_ips: [192.168.1.11]."
        if not isinstance(entry.node, Items):
            message = f"provider.worker_ips must be a list, not {kind_of(entry.node)}"
            self._say("wrong-kind", message, entry.place, remedy)
            return []
        found: list[PlacedAddress] = []
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

    def _is_new(
        self, address: PlacedAddress, head: PlacedAddress | None, others: list[PlacedAddress]
    ) -> bool:
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

    def _declared_workers(self, provider: Table) -> int:
        """Return how many stand there, right or wrong: a wrong address is no wrong count."""
        entry = provider.get("worker_ips")
        return len(entry.node.items) if entry is not None and isinstance(entry.node, Items) else 0

    def _counts(self, workers: int) -> None:
        for name in ("max_workers", "min_workers"):
            entry = self._root.get(name)
            if entry is None:
                if workers and name == "min_workers":
                    message = "there is no min_workers, so Ray starts the head alone"
                    self._say("count", message, self._root.place, f"Write min_workers: {workers}.")
                continue
            value = entry.node.value if isinstance(entry.node, Scalar) else None
            remedy = f"Write {name}: {workers}, so that all are started."
            if type(value) is not int:
                message = f"{name} must be a whole number, not {kind_of(entry.node)}"
                self._say("wrong-kind", message, entry.node.place, remedy)
            elif value != workers:
                message = f"{name} is {value}, but worker_ips has {workers}"
                self._say("count", message, entry.node.place, remedy)

    def _require_number(self, name: str) -> None:
        entry = self._root.get(name)
        value = entry.node.value if entry is not None and isinstance(entry.node, Scalar) else None
        if entry is not None and (type(value) not in (int, float) or float(value or 0) < 0):
            message = f"{name} must be a number from 0 on, not {kind_of(entry.node)}"
            self._say("wrong-kind", message, entry.node.place, "Take it from the project's cluster.yaml.")

    def _copied(self) -> dict[str, Path]:
        entry = self._root.get("file_mounts")
        if entry is None:
            return {}
        if not isinstance(entry.node, Table):
            message = f"file_mounts must be a mapping, not {kind_of(entry.node)}"
            self._say("wrong-kind", message, entry.place, 'Write "path there": "path here".')
            return {}
        found = {}
        for mount in entry.node.entries.values():
            if (
                isinstance(mount.node, Scalar)
                and isinstance(mount.node.value, str)
                and mount.node.text.strip()
            ):
                found[mount.key] = Path(mount.node.text).expanduser()
            else:
                message = f"what is copied to {mount.key} must be a path, not {kind_of(mount.node)}"
                self._say("wrong-kind", message, mount.place, 'Write "path there": "path here".')
        return found
