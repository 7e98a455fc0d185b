"""The policy file: found, read and checked; a fault is named with its line and its remedy."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from zejzl_ray.contracts.policy import (
    AddressPolicy,
    PasswordPolicy,
    Policy,
    RatePolicy,
    RoleSpec,
    TrustLevel,
    TrustPolicy,
)
from zejzl_ray.errors import InvalidInput
from zejzl_ray.security.policy_check import check_policy
from zejzl_ray.security.policy_problem import Path as ValuePath
from zejzl_ray.security.policy_problem import PolicyProblem, did_you_mean, shown
from zejzl_ray.security.policy_yaml import MAX_BYTES, Places, UnreadableError, read_yaml

_PACKAGE: Final = Path(__file__).resolve().parents[1]
# An installed wheel carries the project's config directory beside its own code; a checkout has it beside the package.
_SHIPPED: Final = (_PACKAGE / "fleet" / "shipped", _PACKAGE.parent / "config")
_NAME: Final = "policy.yaml"
_MOST_SHOWN: Final = 20

_KEYS: Final = frozenset(
    field.alias or name
    for model in (Policy, RoleSpec, RatePolicy, TrustPolicy, TrustLevel, AddressPolicy, PasswordPolicy)
    for name, field in model.model_fields.items()
)
# What a text has to look like, by the key under which it stands.
_SHAPES: Final = {
    "grants": "a grant is service:resource:action, each a word in small letters or *",
    "includes": "the name of a role is small letters, digits, _ and -",
    "roles": "the name of a role is small letters, digits, _ and -",
    "kinds": "the name of a role is small letters, digits, _ and -",
    "subjects": "a subject is kind:name, such as agent:Translator, and its roles are names of roles",
    "allow": "an address is written as 192.168.1.7, 192.168.1.0/24 or fd00::/8",
    "deny": "an address is written as 192.168.1.7, 192.168.1.0/24 or fd00::/8",
}


@dataclass(frozen=True, slots=True)
class LoadedPolicy:
    """What reading a policy came to.

    Attributes:
        policy: null when there are errors.
        problems: in the order of the file; warnings among them.
        source: the file.
    """

    policy: Policy | None
    problems: tuple[PolicyProblem, ...]
    source: str

    @property
    def errors(self) -> tuple[PolicyProblem, ...]:
        """The problems that keep it from being used."""
        return tuple(problem for problem in self.problems if problem.is_error)

    @property
    def warnings(self) -> tuple[PolicyProblem, ...]:
        """The problems that one should look at."""
        return tuple(problem for problem in self.problems if not problem.is_error)


def find_policy_file(directory: Path | None = None) -> Path:
    """Return ``config/policy.yaml`` below the directory (the current one), else the shipped file.

    Raises:
        InvalidInput: there is neither.
    """
    own = (directory or Path.cwd()) / "config" / _NAME
    for candidate in (own, *(folder / _NAME for folder in _SHIPPED)):
        if candidate.is_file():
            return candidate
    raise InvalidInput(
        "No policy file: config/policy.yaml is not here.", "Name one, or install the package anew."
    )


def load_policy(path: Path) -> LoadedPolicy:
    """Read and check a policy file; whatever it holds, the answer is a policy or problems, never an exception."""
    file = shown(str(path), most=512)
    try:
        if path.is_dir():
            return _refused(file, f"{file} is a directory", "Name the file in it.")
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return _refused(file, f"there is no file {file}", "Check the path.")
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the path
        reason = getattr(error, "strerror", None) or str(error)
        return _refused(file, f"the file cannot be read: {reason}", "Check the path and its rights.")
    return parse_policy(data, file)


def parse_policy(data: bytes, file: str = _NAME) -> LoadedPolicy:
    """Read and check a policy from bytes; ``file`` is its name in problems."""
    try:
        tree, places = read_yaml(data, file)
    except UnreadableError as error:
        return LoadedPolicy(None, error.problems, file)
    if not isinstance(tree, dict):
        problem = PolicyProblem(
            "not-a-mapping",
            "the file must hold a mapping",
            "Begin it with 'schema: zejzl.policy/1'.",
            file=file,
        )
        return LoadedPolicy(None, (problem,), file)
    try:
        # By way of JSON, strictly: a list may be a tuple, and 'yes' or true is no number.
        policy = Policy.model_validate_json(json.dumps(tree), strict=True)
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False)
        problems = tuple(_problem(detail) for detail in details)
        return LoadedPolicy(None, _placed(problems, places, file), file)
    found = _placed(check_policy(policy), places, file)
    is_usable = not any(problem.is_error for problem in found)
    return LoadedPolicy(policy if is_usable else None, found, file)


def read_policy(path: Path) -> Policy:
    """Read a policy file.

    Raises:
        InvalidInput: names every error with its line and its remedy, one a line.
    """
    loaded = load_policy(path)
    if loaded.policy is None:
        raise refusal(loaded.errors)
    return loaded.policy


@cache
def default_policy() -> Policy:
    """Return the policy that is shipped."""
    for folder in _SHIPPED:
        if (folder / _NAME).is_file():
            return read_policy(folder / _NAME)
    raise InvalidInput("The shipped policy file is missing.", "Install the package anew.")


def refusal(errors: Iterable[PolicyProblem]) -> InvalidInput:
    """Return the exception that says what is wrong with a policy; the first errors one a line, then a count."""
    lines = [str(error) for error in errors]
    hidden = len(lines) - _MOST_SHOWN
    if hidden > 0:
        lines = [*lines[:_MOST_SHOWN], f"... and {hidden} more."]
    return InvalidInput("The policy has errors:\n" + "\n".join(lines), "docs/policy.md explains every key.")


def _problem(detail: ErrorDetails) -> PolicyProblem:
    """Say in the words of the file what the model says in its own."""
    path: ValuePath = tuple(part for part in detail["loc"] if part != "[key]")
    name = shown(str(path[-1])) if path else "policy"
    kind = detail["type"]
    if kind == "missing":
        return PolicyProblem("missing", f"the key {name!r} is missing", "Add it.", path)
    if kind == "extra_forbidden":
        remedy = did_you_mean(name, _KEYS, "Remove it.")
        return PolicyProblem("unknown-key", f"the key {name!r} means nothing here", remedy, path)
    if kind == "string_pattern_mismatch":
        shape = next(
            (_SHAPES[part] for part in reversed(path) if isinstance(part, str) and part in _SHAPES), ""
        )
        return PolicyProblem(
            "bad-value", f"{_value(detail['input'])} does not fit: {shape}", "Write it so.", path
        )
    return PolicyProblem("bad-value", f"{name}: {_value(detail['input'])}: {detail['msg']}", "", path)


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return repr(shown(value)) if isinstance(value, str) else shown(json.dumps(value))


def _placed(problems: Iterable[PolicyProblem], places: Places, file: str) -> tuple[PolicyProblem, ...]:
    """Give each problem the place of the nearest value that the file holds, and sort them by it."""
    placed = []
    for problem in problems:
        path = problem.path
        while path and path not in places:
            path = path[:-1]
        line, column = places.get(path, (0, 0)) if problem.path else (0, 0)
        placed.append(replace(problem, file=file, line=line, column=column))
    return tuple(sorted(placed, key=lambda each: (each.line, each.column, each.code, each.message)))


def _refused(file: str, message: str, remedy: str) -> LoadedPolicy:
    return LoadedPolicy(None, (PolicyProblem("file-unreadable", message, remedy, file=file),), file)
