"""The old startup files: agents in groups (MainPC), in lists (PC2 and the first MainPC files), or both.

Which revision of a file it is need not be said: sections are told by their names and by what stands in them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from zejzl_ray.fleet.document import Entry, Items, Node, Scalar, Table, is_null, repeated_keys
from zejzl_ray.fleet.drafts import Draft
from zejzl_ray.fleet.fields import FieldReader
from zejzl_ray.fleet.finding import Place, error, warning
from zejzl_ray.fleet.legacy_entry import MARKS, SPELLINGS, read_entry
from zejzl_ray.fleet.legacy_groups import DOCKER_GROUPS, machines_of_groups, member_places
from zejzl_ray.fleet.legacy_machine import read_machine
from zejzl_ray.fleet.legacy_service import is_service, read_service
from zejzl_ray.fleet.model import AgentDeclaration, MachineDeclaration, ServiceDeclaration
from zejzl_ray.fleet.topology import MAINPC, PC2

GROUPS: Final = "agent_groups"
PC2_SERVICES: Final = "pc2_services"

#: sections of the new schema, which hold agents in another form
_OURS: Final = frozenset({"machines", "services", "agents"})

#: top-level lists of agents, in all revisions of both files
LISTS: Final = (
    PC2_SERVICES,
    "core_services",
    "main_pc_gpu_services",
    "emotion_system",
    "language_processing",
    "memory_system",
    "learning_knowledge",
    "planning_execution",
    "tts_services",
    "code_generation",
    "audio_processing",
    "translation_services",
    "vision",
    "monitoring_security",
    "core_agents",
    "memory_agents",
    "input_agents",
    "processing_agents",
    "output_agents",
    "utility_agents",
    "model_agents",
    "agents",
)


@dataclass
class LegacyReading:
    """The agents and the machine of one old file; ``agent_tables`` are the mappings whose keys are agents."""

    machine: Draft[MachineDeclaration]
    agents: list[Draft[AgentDeclaration]]
    agent_tables: set[int] = field(default_factory=set)
    services: list[Draft[ServiceDeclaration]] = field(default_factory=list)


def is_legacy(root: Table) -> bool:
    """Whether the file has one of the sections that old files keep their agents in."""
    return GROUPS in root.entries or any(
        _is_agent_list(entry) or _is_agent_table(entry) for entry in root.entries.values()
    )


def read_legacy(reader: FieldReader, root: Table, machine: str | None = None) -> LegacyReading:
    """Read an old file; ``machine`` says whose it is, where its content should not decide."""
    of_groups = machines_of_groups(root) if machine is None else {}
    return _LegacyReader(reader, machine or machine_of(root), of_groups).read(root)


def machine_of(root: Table) -> str:
    """Return the machine an old file is written for: the one whose scripts it starts."""
    if PC2_SERVICES in root.entries:
        return PC2
    scripts = [text for text in _scripts(root) if text]
    on_pc2 = sum(text.startswith("pc2_code/") for text in scripts)
    return PC2 if on_pc2 > sum(text.startswith("main_pc_code/") for text in scripts) else MAINPC


def _is_agent_list(entry: Entry) -> bool:
    """Whether a top-level entry is a list of agents: by its name, or because every item is a named agent."""
    node = entry.node
    if not isinstance(node, Items):
        return entry.key in LISTS and is_null(node)
    if entry.key in LISTS:
        return True
    return bool(node.items) and all(
        isinstance(item, Table) and "name" in item.entries and bool(MARKS & item.entries.keys())
        for item in node.items
    )


def _is_agent_table(entry: Entry) -> bool:
    """Whether a top-level entry is a mapping of agents by name that is no group of ``agent_groups``."""
    node = entry.node
    return (
        entry.key not in _OURS
        and isinstance(node, Table)
        and bool(node.entries)
        and all(
            isinstance(member.node, Table) and {"script_path", "port"} <= member.node.entries.keys()
            for member in node.every
        )
    )


def _scripts(root: Table) -> Iterator[str]:
    seen: set[int] = set()
    waiting: list[Node] = [root]
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, Items):
            waiting.extend(node.items)
        elif isinstance(node, Table):
            for key, entry in node.entries.items():
                waiting.append(entry.node)
                if key in SPELLINGS["entry"] and isinstance(entry.node, Scalar):
                    yield entry.node.text


class _LegacyReader:
    def __init__(self, reader: FieldReader, machine: str, of_groups: Mapping[str, tuple[str, ...]]) -> None:
        self._reader = reader
        self._machine = machine
        self._of_groups = of_groups
        self._agents: list[Draft[AgentDeclaration]] = []
        self._services: list[Draft[ServiceDeclaration]] = []
        self._groups: list[str] = []
        self._extras: dict[str, Any] = {}
        self._places: dict[str, Place] = {}
        self._agent_tables: set[int] = set()

    def read(self, root: Table) -> LegacyReading:
        sections = []
        for key, entry in root.entries.items():
            if key == GROUPS:
                sections.append(key)
                self._read_groups(entry.node)
            elif _is_agent_list(entry):
                sections.append(key)
                self._read_list(entry.node, key, key)
            elif _is_agent_table(entry):
                sections.append(key)
                self._read_group(entry, key)
        machine = read_machine(
            self._reader,
            root,
            self._machine,
            sections=sections,
            groups=self._groups,
            group_extras=self._extras,
            group_places=self._places,
        )
        return LegacyReading(machine, self._agents, self._agent_tables, self._services)

    def _read_groups(self, node: Node) -> None:
        table = self._reader.table(node, GROUPS)
        for entry in table.every if table is not None else ():
            path = f"{GROUPS}.{entry.key}"
            if isinstance(entry.node, Table) and _is_docker_groups(entry.key, entry.node):
                self._keep_docker_groups(entry.node, path)
            elif isinstance(entry.node, Table) and MARKS & entry.node.entries.keys():
                self._reader.report(
                    warning(
                        "agent-outside-group",
                        f"{entry.key} stands outside of any group",
                        entry.place,
                        path=path,
                        subject=entry.key,
                        remedy="Indent it below a group.",
                    )
                )
                self._read_agent(entry, path, None)
            else:
                self._read_group(entry, path)

    def _read_group(self, entry: Entry, path: str) -> None:
        self._groups.append(entry.key)
        if isinstance(entry.node, Items):
            self._read_list(entry.node, entry.key, path)
            return
        table = self._reader.table(entry.node, path)
        if table is None:
            return
        self._agent_tables.add(id(table))
        for member in table.every:
            where = f"{path}.{member.key}"
            if member.key == "group_config":
                self._extras.setdefault("group_config", {})[entry.key] = self._reader.plain(
                    member.node, where
                )
            elif is_null(member.node):
                self._groups.append(member.key)  # an empty group inside of this one
            elif isinstance(member.node, Table) and _is_docker_groups(member.key, member.node):
                self._keep_docker_groups(member.node, where)
            elif isinstance(member.node, Table) and _is_group(member.node):
                self._read_group(member, where)
            else:
                self._read_agent(member, where, entry.key)

    def _keep_docker_groups(self, node: Node, path: str) -> None:
        self._extras[DOCKER_GROUPS] = self._reader.plain(node, path)
        self._places.update(member_places(node))

    def _read_agent(self, entry: Entry, path: str, group: str | None) -> None:
        if isinstance(entry.node, Table):
            self._add(entry.node, entry.key, entry.place, path, group)
        else:
            self._reader.wrong_type(entry.node, path, "a mapping that describes an agent")

    def _read_list(self, node: Node, group: str, path: str) -> None:
        if group not in self._groups:
            self._groups.append(group)
        for index, item in enumerate(self._reader.items(node, path)):
            where = f"{path}[{index}]"
            if not isinstance(item, Table):
                self._reader.wrong_type(item, where, "a mapping that describes an agent")
                continue
            named = item.get("name")
            if named is None:
                self._reader.report(
                    error(
                        "missing-field",
                        f"{where} has no name",
                        item.place,
                        path=f"{where}.name",
                        subject=where,
                        remedy="Give the agent a name.",
                    )
                )
                continue
            name = self._reader.text(named.node, f"{where}.name")
            if name is not None:
                self._add(item, name, named.node.place, f"{path}.{name}", group)

    def _add(self, table: Table, name: str, place: Place, path: str, group: str | None) -> None:
        if is_service(table, name):
            self._services.append(read_service(self._reader, table, name, place, path))
            return
        draft = read_entry(self._reader, table, name, place, path, machine=self._machine, group=group)
        if draft is not None:
            is_placed = table.get("machine") is not None
            self._agents.append(draft if is_placed else self._by_profile(draft, group))

    def _by_profile(self, draft: Draft[AgentDeclaration], group: str | None) -> Draft[AgentDeclaration]:
        """Return the agent on the machine whose profile enables its group; on any, where several do."""
        machines = self._of_groups.get(group or "", ())
        if not machines:
            return draft
        machine = machines[0] if len(machines) == 1 else None
        return replace(draft, declaration=draft.declaration.model_copy(update={"machine": machine}))


def _is_group(table: Table) -> bool:
    """Whether a member of a group is a group itself: nothing in it but mappings and empty groups."""
    if not table.entries or MARKS & table.entries.keys():
        return False
    members = [entry.node for entry in table.entries.values()]
    return all(isinstance(node, Table) or is_null(node) for node in members) and any(
        isinstance(node, Table) and MARKS & node.entries.keys() for node in members
    )


def _is_docker_groups(key: str, table: Table) -> bool:
    """Whether a mapping holds compose groups: by its name, or because its members list names of agents."""
    if key == DOCKER_GROUPS:
        return True
    members = [entry.node for entry in table.entries.values()]
    return bool(members) and all(
        isinstance(node, Table)
        and isinstance(node.entries["agents"].node, Items)
        and not MARKS & node.entries.keys()
        if isinstance(node, Table) and "agents" in node.entries
        else False
        for node in members
    )


def report_repeated_keys(reader: FieldReader, root: Table, agent_tables: set[int]) -> None:
    """Report keys that stand twice in one mapping, except agents: a validator compares those."""
    for table, first, again in repeated_keys(root):
        if id(table) not in agent_tables:
            reader.report(
                error(
                    "duplicate-key",
                    f"the key {again.key} stands twice in one mapping, first in line {first.place.line}; "
                    "YAML readers keep the last one in silence",
                    again.place,
                    path=again.key,
                    subject=again.key,
                    remedy="Remove one of them.",
                    related=(
                        Place(first.place.file, first.place.line, first.place.column, "first written here"),
                    ),
                )
            )
