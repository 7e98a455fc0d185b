"""The file that `ray up` puts on the head, checked there before Ray starts: somebody may not have run the check.

Ray rewrites the file on its way: it fills in fields of its own and puts all of it on one line. So a fault is named by
field and value, and the line by `zejzl cluster check`, which reads the file that the user wrote.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from zejzl_ray.cluster_file.read import parse_cluster_file
from zejzl_ray.errors import InvalidInput

# What Ray adds for its own use; nobody has written it. It adds others too, and has refused fields that it does not know
# before it came here, so an unknown field is no fault at the head.
_RAYS_OWN: Final = frozenset(
    {"available_node_types", "head_node_type", "head_node", "worker_nodes", "docker"}
)
_REMEDY: Final = (
    "Correct the file that `ray up` was given, whose lines `zejzl cluster check FILE` names. "
    "Nothing was started."
)


def require_launched_file(path: Path, names: Mapping[str, str] | None = None) -> None:
    """Read ``ray_bootstrap_config.yaml`` and check what `zejzl cluster check` checks of a cluster file.

    Args:
        path: the file on the head.
        names: address -> name of machines that the fleet file declares, for workers that the file leaves unnamed.

    Raises:
        InvalidInput: something is wrong in it; one line a fault.
    """
    try:
        document: Any = yaml.safe_load(path.expanduser().read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInput(
            f"Cannot read {path}: {error.strerror}.", "`ray up` puts it on the head."
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"{path} is no YAML ({type(error).__name__}).", "`ray up` puts it on the head."
        ) from None
    if not isinstance(document, dict):
        raise InvalidInput(f"{path} is not a cluster file.", "`ray up` puts it on the head.")
    read = parse_cluster_file(json.dumps(_as_written(document)), str(path), names)
    found = [finding for finding in read.findings if finding.code != "unknown-field"]
    if not found:
        return
    faults = "\n".join(f"{finding.message.rstrip('.')}. {finding.remedy}".strip() for finding in found)
    raise InvalidInput(f"The cluster file is wrong:\n{faults}", f"\n{_REMEDY}")


def _as_written(document: dict[str, Any]) -> dict[str, Any]:
    """Undo what Ray has done to the fields that are checked."""
    written = {key: value for key, value in document.items() if key not in _RAYS_OWN}
    types = document.get("available_node_types")
    for own in types.values() if isinstance(types, dict) else ():
        if isinstance(own, dict) and "min_workers" in own:
            written.setdefault("min_workers", own["min_workers"])
    return written
