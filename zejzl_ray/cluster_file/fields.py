"""The fields that a cluster file of Ray's local provider may have; a misspelt one would be a silent default."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from zejzl_ray.fleet.document import Entry, Table, repeated_keys
from zejzl_ray.fleet.finding import Finding, Place, error
from zejzl_ray.fleet.suggest import did_you_mean

_NO_MAPPING: Final = frozenset({"file-empty", "not-a-mapping"})
_TOP: Final = frozenset(
    {
        "cluster_name", "min_workers", "max_workers", "upscaling_speed", "idle_timeout_minutes", "provider", "auth",
        "file_mounts", "cluster_synced_files", "file_mounts_sync_continuously", "rsync_exclude", "rsync_filter",
        "initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands",
        "head_start_ray_commands", "worker_start_ray_commands", "no_restart", "metadata",
    }
)  # fmt: skip
_PROVIDER: Final = frozenset(
    {"type", "head_ip", "worker_ips", "use_internal_ips", "cache_stopped_nodes", "disable_node_updaters"}
)
_AUTH: Final = frozenset({"ssh_user", "ssh_private_key", "ssh_public_key", "ssh_proxy_command"})
_ELSEWHERE: Final = {
    "docker": "Ray runs without containers here; deploy/ holds what runs in them.",
    "available_node_types": "The local provider knows one type only; remove it.",
    "head_node_type": "The local provider knows one type only; remove it.",
    "coordinator_address": "Name the machines with head_ip and worker_ips.",
}


def field_findings(root: Table) -> Iterator[Finding]:
    """Yield each field that is not known or stands there twice."""
    yield from _unknown(root, _TOP, "")
    for section, known in (("provider", _PROVIDER), ("auth", _AUTH)):
        entry = root.get(section)
        if entry is not None and isinstance(entry.node, Table):
            yield from _unknown(entry.node, known, f"{section}.")
    for _, first, again in repeated_keys(root):
        yield repeated(again, first)


def repeated(again: Entry, first: Entry) -> Finding:
    """Return the finding about a field that stands in a mapping twice."""
    return error(
        "repeated-field",
        f"{again.key} stands here again, and only the last one counts",
        again.place,
        remedy=f"Remove one of them; the first is in line {first.place.line}.",
        related=(Place(first.place.file, first.place.line, first.place.column, "the first"),),
    )


def in_own_words(findings: Iterable[Finding], remedy: str) -> tuple[Finding, ...]:
    """Return the findings of the YAML reader, which knows of fleets only, with what belongs into this file."""
    return tuple(
        replace(finding, remedy=remedy) if finding.code in _NO_MAPPING else finding for finding in findings
    )


def _unknown(table: Table, known: frozenset[str], above: str) -> Iterator[Finding]:
    for entry in table.every:
        if entry.key not in known:
            yield error(
                "unknown-field",
                f"{above}{entry.key} is no field of a cluster file",
                entry.place,
                remedy=_ELSEWHERE.get(entry.key) or did_you_mean(entry.key, known, "Remove it."),
                path=f"{above}{entry.key}",
            )
