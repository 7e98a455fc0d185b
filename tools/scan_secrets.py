"""Look for secrets in every file that git knows; ``--update`` writes ``.secrets.baseline`` anew.

The baseline holds what looks like a secret and is none, as digests; ``detect-secrets audit .secrets.baseline`` shows
each place. Tests work with invented passwords, keys and tokens by the hundred, so under ``tests/`` only what has the
form of a provider's real key or of one of the project's own is looked for. Documents speak of passwords and tokens in
every second sentence, so there the word alone is no finding.
"""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from detect_secrets.core import baseline
from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
from detect_secrets.core.secrets_collection import SecretsCollection
from detect_secrets.settings import transient_settings

ROOT: Final = Path(__file__).resolve().parents[1]
BASELINE: Final = ".secrets.baseline"
_INVENTED: Final = "tests/"
_PROSE: Final = (".md",)
# The project's own: credentials of callers, of services, and refresh tokens. In full, as none is written down anywhere.
_OWN: Final = re.compile(
    rb"\b(?:zk_[0-9a-f]{16}|zs_(?:service|machine)\.[\w.-]+|zr_[0-9a-f]{32})_[0-9a-f]{64}\b"
)
# What a name, a form or the look of randomness gives away; the others know how a provider's keys are written.
_GUESSING: Final = frozenset(
    {
        "KeywordDetector",
        "BasicAuthDetector",
        "Base64HighEntropyString",
        "HexHighEntropyString",
        "JwtTokenDetector",
    }
)
_NOT_A_SECRET: Final = frozenset({"IPPublicDetector"})
_SKIPPED: Final = frozenset({BASELINE, "constraints.txt"})
_NOT_OURS: Final = frozenset({".git", ".venv", "build", "dist"})


def files_of(root: Path) -> list[str]:
    """Return what git knows or would add, relative to the root; without git every file."""
    done = subprocess.run(
        ["git", "-C", str(root), "ls-files", "-co", "--exclude-standard", "-z"],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        found = [path.relative_to(root) for path in root.rglob("*") if path.is_file()]
        return sorted(path.as_posix() for path in found if not _NOT_OURS & set(path.parts))
    return sorted(name for name in done.stdout.split("\0") if name and (root / name).is_file())


def scan(root: Path, names: list[str]) -> SecretsCollection:
    """Return what looks like a secret in these files of a directory."""
    # Its own type is a variable that nobody binds; mypy takes that amiss when it reads the library for the first time.
    known: Any = get_mapping_from_secret_type_to_class()
    every = {str(plugin.__name__) for plugin in known.values()} - _NOT_A_SECRET
    wanted = [name for name in names if name not in _SKIPPED]
    found: SecretsCollection = SecretsCollection(root=str(root))
    invented = {name for name in wanted if name.startswith(_INVENTED)}
    prose = {name for name in wanted if name.endswith(_PROSE)} - invented
    for plugins, chosen in (
        (every, set(wanted) - invented - prose),
        (every - {"KeywordDetector"}, prose),
        (every - _GUESSING, invented),
    ):
        with transient_settings({"plugins_used": [{"name": name} for name in sorted(plugins)]}):
            found.scan_files(*sorted(chosen))
    return found


def known(root: Path) -> set[tuple[str, str, str]]:
    """Return file, kind and digest of what the baseline calls harmless; nothing without a baseline."""
    path = root / BASELINE
    if not path.is_file():
        return set()
    results = json.loads(path.read_text(encoding="utf-8"))["results"]
    return {(name, one["type"], one["hashed_secret"]) for name, found in results.items() for one in found}


def new_ones(found: SecretsCollection, harmless: set[tuple[str, str, str]]) -> list[str]:
    """Return the place of each finding that is not in the baseline, without the secret itself."""
    return [
        f"{name}:{secret.line_number}: {secret.type}"
        for name, secret in sorted(found, key=lambda item: (item[0], item[1].line_number))
        if (name, secret.type, secret.secret_hash) not in harmless
    ]


def own_credentials(root: Path, names: list[str]) -> list[str]:
    """Return the places of the project's own credentials; none of them is ever harmless."""
    places = []
    for name in names:
        content = (root / name).read_bytes()
        for match in _OWN.finditer(content):
            line = content.count(b"\n", 0, match.start()) + 1
            places.append(f"{name}:{line}: credential of zejzl-ray")
    return places


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Print each place; 1 when there is one that the baseline does not have."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--update", action="store_true", help="write the baseline; look at each place first")
    given = parser.parse_args(arguments)
    names = files_of(root)
    found = scan(root, names)
    if given.update:
        content = baseline.format_for_output(found)
        for name, places in content["results"].items():
            for one in places:
                one["filename"] = name  # as it is called in every checkout
        (root / BASELINE).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        print(f"{BASELINE}: {len(list(found))} places that look like secrets and are none")
        return 0
    faults = [*own_credentials(root, names), *new_ones(found, known(root))]
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    if faults:
        print(
            "Take it out, and make a new one if it was ever real. If it is none: "
            "python tools/scan_secrets.py --update",
            file=sys.stderr,
        )
        return 1
    print(f"{len(names)} files, no secret")
    return 0


if __name__ == "__main__":
    sys.exit(main())
