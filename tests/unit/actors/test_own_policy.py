from pathlib import Path

import pytest

from actors.own_policy import own_policy
from zejzl_ray.errors import InvalidInput
from zejzl_ray.security.policy_file import default_policy
from zejzl_ray.settings import Settings

SHIPPED = Path(__file__).resolve().parents[3] / "config" / "policy.yaml"


def test_without_a_file_nothing_is_put_in_force(tmp_path: Path) -> None:
    assert own_policy(Settings(), tmp_path) == (None, "")


def test_the_file_of_the_current_directory_is_found(tmp_path: Path) -> None:
    path = tmp_path / "config" / "policy.yaml"
    path.parent.mkdir()
    path.write_bytes(SHIPPED.read_bytes())
    assert own_policy(Settings(), tmp_path) == (default_policy(), str(path))


def test_the_named_file_goes_first_and_has_to_be_there(tmp_path: Path) -> None:
    named = tmp_path / "mine.yaml"
    with pytest.raises(InvalidInput, match=r"There is no policy file .*mine\.yaml"):
        own_policy(Settings(policy_file=named), tmp_path)
    named.write_bytes(SHIPPED.read_bytes())
    assert own_policy(Settings(policy_file=named), tmp_path) == (default_policy(), str(named))


def test_a_file_with_errors_is_refused_with_the_place(tmp_path: Path) -> None:
    named = tmp_path / "mine.yaml"
    named.write_text("schema: zejzl.policy/1\nroles: 7\n")
    with pytest.raises(InvalidInput, match=r"mine\.yaml:2"):
        own_policy(Settings(policy_file=named))
