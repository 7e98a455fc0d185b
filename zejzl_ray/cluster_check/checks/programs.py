"""The programs that a node needs are there, and of one version everywhere."""

from collections import Counter
from collections.abc import Iterator

from zejzl_ray.cluster_check.facts import ClusterFacts, OwnFacts
from zejzl_ray.cluster_check.finding import HERE, Finding


def check_rsync(facts: ClusterFacts) -> Iterator[Finding]:
    """`ray up` copies files with rsync, which must be at both ends."""
    remedy = "Install it: apt-get install rsync."
    for machine, own in facts.knowing("programs"):
        if own.programs.rsync is None:
            yield Finding(
                machine.machine.name, "rsync", "there is no rsync, and `ray up` copies files with it", remedy
            )
    if not facts.here.machine and not facts.here.has_rsync:
        yield Finding(HERE, "rsync", "there is no rsync, and `ray up` copies files with it", remedy)


def check_versions(facts: ClusterFacts) -> Iterator[Finding]:
    """Ray refuses a machine with another Ray or Python; zejzl's services refuse one with another zejzl."""
    own = {machine.machine.name: found for machine, found in facts.knowing("programs")}
    for name, found in own.items():
        yield from _missing(facts, name, found)
    yield from _differing(facts, {name: found.programs.ray.version for name, found in own.items()}, "Ray")
    yield from _differing(
        facts, {name: found.programs.zejzl.version for name, found in own.items()}, "zejzl-ray"
    )
    # Ray compares all three parts: objects are pickled between processes.
    yield from _differing(facts, {name: found.python for name, found in own.items()}, "Python")


def _missing(facts: ClusterFacts, name: str, own: OwnFacts) -> Iterator[Finding]:
    remedy = "Install the project's environment there, and put its bin on PATH in ~/.bashrc."
    if facts.cluster.carried_release is not None:
        if own.release is None:
            return  # check_release has a word for it
        remedy = (
            "Its release is damaged: remove ~/.local/share/zejzl/releases there, then `zejzl release send`."
        )
    for program, command in (("ray", own.programs.ray), ("zejzl", own.programs.zejzl)):
        if command.path is None:
            yield Finding(name, "version", f"there is no command {program} on PATH", remedy)
        elif command.version is None:
            said = f": {command.said.splitlines()[-1]}" if command.said.strip() else ""
            yield Finding(name, "version", f"{command.path} does not say which version it is{said}", remedy)


def _differing(facts: ClusterFacts, versions: dict[str, str | None], what: str) -> Iterator[Finding]:
    known = {name: version for name, version in versions.items() if version}
    if len(set(known.values())) < 2:
        return
    wanted = _usual(facts, known)
    holders = ", ".join(name for name, version in known.items() if version == wanted)
    for name, version in known.items():
        if version != wanted:
            yield Finding(
                name,
                "version",
                f"{what} is {version} here and {wanted} on {holders}",
                f"Install {what} {wanted} there; all machines need the same.",
            )


def _usual(facts: ClusterFacts, versions: dict[str, str]) -> str:
    """The version that most machines have; where that is undecided, the head's."""
    (first, count), *others = Counter(versions.values()).most_common()
    if any(number == count for _, number in others):
        return versions.get(facts.head.machine.name, first)
    return first
