"""The policy that a start puts in force: read and checked before anything runs."""

from pathlib import Path

from zejzl_ray.contracts.policy import Policy
from zejzl_ray.errors import InvalidInput
from zejzl_ray.security.policy_file import read_policy
from zejzl_ray.settings import Settings

_LOCAL = Path("config/policy.yaml")


def own_policy(settings: Settings, directory: Path | None = None) -> tuple[Policy | None, str]:
    """Return the policy that the settings or the current directory name, and its file; None when there is none.

    Args:
        settings: ``policy_file`` goes first.
        directory: in place of the current one.

    Raises:
        InvalidInput: the file has errors, or the one that the settings name is missing; says what and where.
    """
    named = settings.policy_file
    path = named.expanduser() if named is not None else (directory or Path.cwd()) / _LOCAL
    if not path.is_file():
        if named is None:
            return None, ""
        raise InvalidInput(f"There is no policy file {path}.", "Correct ZEJZL_POLICY_FILE, or unset it.")
    return read_policy(path), str(path)
