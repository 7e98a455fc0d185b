"""The shared secrets are there, the same everywhere, and nobody else's business."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Final

from zejzl_ray.cluster_check.facts import ClusterFacts, MachineFacts, Phase, SecretFile
from zejzl_ray.cluster_check.finding import HERE, Finding
from zejzl_ray.cluster_check.needed_ports import store_url

_WHAT: Final = (
    ("ray_token", "Ray token"),
    ("redis_password", "Redis password"),
    ("security_key", "security key"),
    ("token", "administrator's credential"),
)


def check_secrets(facts: ClusterFacts) -> Iterator[Finding]:
    """Ray token, security key and Redis password: present, mode 0600, one content."""
    for name, what in _WHAT:
        if name == "redis_password" and not store_url(facts).startswith("redis"):
            continue
        if name == "token" and not _is_copied(facts, name):
            continue  # who does not bring it along does not want to take over
        yield from _one(facts, name, what)


def _one(facts: ClusterFacts, name: str, what: str) -> Iterator[Finding]:
    files = {found.machine.name: found.own.secrets[name] for found in facts.answering
             if found.own is not None and name in found.own.secrets}  # fmt: skip
    for machine, file in files.items():
        yield from _missing(facts, machine, file, what, name)
        if file.mode is not None and (file.mode & 0o077 or not file.is_own):
            if file.is_own:
                text = f"others may use its {what}: {file.path} has the mode {file.mode:04o}"
                yield Finding(machine, "secret", text, f"Run there: chmod 600 {file.path}")
            else:
                text = f"its {what} {file.path} belongs to another user"
                yield Finding(machine, "secret", text, f"Run there: chown $USER {file.path}")
    digests = {
        machine: file.digest for machine, file in files.items() if file.digest and file.state == "present"
    }
    if not facts.here.machine and name in facts.here.secret_digests:
        digests[HERE] = facts.here.secret_digests[name]
    yield from _differing(facts, digests, what, name)


def _missing(facts: ClusterFacts, machine: str, file: SecretFile, what: str, name: str) -> Iterator[Finding]:
    if file.state == "present":
        return
    if file.state == "missing":
        if facts.phase is Phase.BEFORE and _is_brought(facts, name, machine, file.path):
            return
        yield Finding(machine, "secret", f"there is no {what} at {file.path}", _remedy(facts, machine, name))
    elif file.state == "empty":
        yield Finding(
            machine, "secret", f"{file.path} holds no {what}", f"Remove it. {_remedy(facts, machine, name)}"
        )
    else:
        yield Finding(
            machine, "secret", f"its {what} {file.path} cannot be read", f"Run there: chown $USER {file.path}"
        )


def _is_brought(facts: ClusterFacts, name: str, machine: str, path: str) -> bool:
    """Whether the next `ray up` copies the file from here, to where the machine looks for it."""
    found = facts.named(machine)
    disks = found.own.disks if found is not None and found.own is not None else ()
    home = next((disk.path for disk in disks if disk.use == "home"), None)
    targets = [target for target in facts.cluster.copied if target.endswith(f"/{name}")]
    if home is not None:
        targets = [target for target in targets if re.sub(r"^~(?=/)", lambda _: home, target) == path]
    return name in facts.here.secret_digests and bool(targets)


def _is_copied(facts: ClusterFacts, name: str) -> bool:
    return any(path.endswith(f"/{name}") for path in facts.cluster.copied)


def _differing(facts: ClusterFacts, digests: dict[str, str], what: str, name: str) -> Iterator[Finding]:
    if len(set(digests.values())) < 2:
        return
    head = facts.head.machine.name
    wanted = digests.get(head) or Counter(digests.values()).most_common(1)[0][0]
    holder = (
        head if head in digests else next(machine for machine, digest in digests.items() if digest == wanted)
    )
    for machine, digest in digests.items():
        if digest != wanted:
            subject = "this computer's" if machine == HERE else "its"
            yield Finding(
                machine,
                "secret",
                f"{subject} {what} differs from that of {holder}",
                _remedy(facts, machine, name)
                if machine != HERE
                else f"Copy {name} from {holder}, mode 0600.",
            )


def _remedy(facts: ClusterFacts, machine: str, name: str) -> str:
    head: MachineFacts = facts.head
    if machine == head.machine.name:
        return "Run `zejzl node token` there, then `ray up`."
    is_copied = _is_copied(facts, name)
    copy = f"Copy {name} from {head.machine.name} to {machine}, mode 0600"
    return (
        f"{copy}; `ray up` does it too, then restart the node."
        if is_copied
        else f"{copy}, then restart the node."
    )
