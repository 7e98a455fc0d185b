"""The project's cluster file with somebody's own addresses, user and key: comments and everything else stay."""

import ipaddress
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml

from zejzl_ray.cluster_file.model import DeclaredMachine
from zejzl_ray.cluster_file.start_command import parse_start_command
from zejzl_ray.errors import InvalidInput

_PLAIN: Final = re.compile(r"[A-Za-z0-9_~/][A-Za-z0-9_~/.@%+-]*")


@dataclass(frozen=True, slots=True)
class Values:
    """The few values that a user must set.

    Attributes:
        head: name and address.
        workers: name and address of each; none for a head alone.
        ssh_user: logs in on all machines.
        ssh_private_key: path of the key, ``~`` as it is; empty leaves the choice to ssh.
        cluster_name: what Ray calls the cluster.
    """

    head: DeclaredMachine
    workers: tuple[DeclaredMachine, ...]
    ssh_user: str
    ssh_private_key: str
    cluster_name: str = "zejzl"


@dataclass(frozen=True, slots=True)
class _Edit:
    start: int
    end: int
    text: str


def fill_in(template: str, values: Values) -> str:
    """Return the template with the values in their places; a place is found by the structure of the file.

    Raises:
        InvalidInput: the template lacks one of the places.
    """
    root = yaml.compose(template, Loader=yaml.SafeLoader)
    former_head = str(_node(root, "provider", "head_ip").value)
    former_workers = [str(item.value) for item in _node(root, "provider", "worker_ips").value]
    former_user = str(_node(root, "auth", "ssh_user").value)
    count = str(len(values.workers))
    edits = [
        _scalar(_node(root, "cluster_name"), values.cluster_name),
        _scalar(_node(root, "provider", "head_ip"), values.head.address),
        _span(
            _node(root, "provider", "worker_ips"),
            f"[{', '.join(_quoted(worker.address) for worker in values.workers)}]",
        ),
        _scalar(_node(root, "auth", "ssh_user"), values.ssh_user),
        _scalar(_node(root, "auth", "ssh_private_key"), values.ssh_private_key),
        _span(_node(root, "min_workers"), count),
        _span(_node(root, "max_workers"), count),
        *_head_commands(template, root, former_head, values.head),
        *_worker_commands(template, root, values.workers),
    ]
    example = DeclaredMachine(name="pc2", address=former_workers[0] if former_workers else "")
    edits += _comments(template, root, {former_head: values.head.address}, example, values, former_user)
    text = template
    for edit in sorted(edits, key=lambda edit: edit.start, reverse=True):
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text


def issue_words(worker: DeclaredMachine) -> str:
    """Return what follows `zejzl tls`; a certificate names IP addresses, so a host name leaves that one open."""
    try:
        address = str(ipaddress.ip_address(worker.address))
    except ValueError:
        address = "ITS-IP-ADDRESS"
    return f"issue {worker.name} --address {address}"


def fill_in_redis(template: str, machine: DeclaredMachine, data_dir: str) -> str:
    """Return Redis' configuration for the head or a replica: its address, its certificate, its data directory."""
    text = re.sub(r"(?m)^bind \S+", f"bind {machine.address}", template)
    text = re.sub(r"/home/zejzl/\.local/share/zejzl(?=/)", lambda _: data_dir, text)
    return re.sub(r"(?m)(/tls/)mainpc(\.(?:pem|key))$", rf"\g<1>{machine.name}\g<2>", text)


def _node(root: Any, *path: str) -> Any:
    node = root
    for key in path:
        pairs = node.value if isinstance(node, yaml.MappingNode) else ()
        node = next((value for name, value in pairs if name.value == key), None)
        if node is None:
            raise InvalidInput(
                f"The template has no {'.'.join(path)}.", "Take the project's own cluster.yaml."
            )
    return node


def _span(node: Any, text: str) -> _Edit:
    return _Edit(node.start_mark.index, node.end_mark.index, text)


def _scalar(node: Any, text: str) -> _Edit:
    return _span(node, _quoted(text))


def _quoted(text: str) -> str:
    """Return a text as YAML; quoted where it would be something else without."""
    if _PLAIN.fullmatch(text) and yaml.safe_load(text) == text and not text.startswith("~ "):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _head_commands(template: str, root: Any, former: str, head: DeclaredMachine) -> Iterator[_Edit]:
    for node in _node(root, "head_start_ray_commands").value:
        start, end = node.start_mark.index, node.end_mark.index
        text = template[start:end]
        new = re.sub(rf"(?<![\w.]){re.escape(former)}(?![\w.])", lambda _: _in_url(head.address), text)
        new = re.sub(r"(--machine[ =])\S+", lambda found: found.group(1) + head.name, new)
        if new != text:
            yield _Edit(start, end, new)


def _in_url(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _worker_commands(template: str, root: Any, workers: Sequence[DeclaredMachine]) -> Iterator[_Edit]:
    """One line a machine: a third one is one more."""
    for node in _node(root, "worker_start_ray_commands").value:
        if parse_start_command(str(node.value)) is None:
            continue
        command = re.sub(r"\s+--(?:machine|worker)[ =]\S+", "", " ".join(str(node.value).split()))
        indent = " " * _indent(template, node.start_mark.index)
        lines = [command, *(f"--worker {worker.name}={worker.address}" for worker in workers)]
        start, end = node.start_mark.index, node.end_mark.index
        tail = "\n" if template[start:end].endswith("\n") else ""
        yield _Edit(start, end, ">-\n" + "\n".join(f"{indent}{line}" for line in lines) + tail)


def _indent(template: str, at: int) -> int:
    """Two more than the dash of the list item that begins on this line."""
    line = template[template.rfind("\n", 0, at) + 1 : at]
    return line.index("-") + 2 if "-" in line else len(line)


def _comments(
    template: str, root: Any, replaced: dict[str, str], example: DeclaredMachine, values: Values, user: str
) -> Iterator[_Edit]:
    """The commands in the comments above the first field are to be copied: they name what is filled in."""
    end = root.start_mark.index
    text = template[:end]
    new = text
    for former, address in replaced.items():
        new = new.replace(former, address)
    lines = []
    for line in new.splitlines(keepends=True):
        if example.address and example.address in line and values.workers:
            lines += [
                line.replace(f"issue {example.name} --address {example.address}", issue_words(worker))
                .replace(f"{user}@", f"{values.ssh_user}@")
                .replace(example.address, worker.address)
                for worker in values.workers
            ]
        else:
            lines.append(line.replace("--machine mainpc", f"--machine {values.head.name}"))
    if "".join(lines) != text:
        yield _Edit(0, end, "".join(lines))
