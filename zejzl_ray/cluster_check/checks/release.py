"""The release that `ray up` carries is there, fits the machines, and is what they all have."""

from collections.abc import Iterator

from zejzl_ray.cluster_check.facts import ClusterFacts, Phase
from zejzl_ray.cluster_check.finding import HERE, Finding


def check_release(facts: ClusterFacts) -> Iterator[Finding]:
    """A release is here, made for the Python of the machines; after the start all machines have the same one."""
    here = facts.here.release
    if here is None:
        return
    if here.fault:
        yield Finding(HERE, "release", here.fault, "Run: zejzl release build")
    for machine in facts.answering:
        if machine.own is None:
            continue
        own, name = machine.own, machine.machine.name
        python = ".".join(own.python.split(".")[:2])
        if own.release is None and here.python and python != here.python:
            what = f"python3 is {python} here, and the release is for {here.python}"
            yield Finding(name, "release", what, f"Install python{here.python}, the same on all machines.")
        if own.release is None and facts.phase is Phase.AFTER:
            yield Finding(
                name, "release", "no release is installed", "Run `ray up`, or `zejzl release send`."
            )
    yield from _differing(facts)


def _differing(facts: ClusterFacts) -> Iterator[Finding]:
    head = facts.head.own.release if facts.head.own is not None else None
    for machine in facts.answering:
        found = machine.own.release if machine.own is not None else None
        if head and found and found != head:
            what = f"its release is {found}, and {head} on {facts.head.machine.name}"
            yield Finding(
                machine.machine.name, "release", what, "Run `ray up`, or after a rollback `zejzl rollback`."
            )
