"""The file with the few values that a user sets: read, or refused with the line."""

from pathlib import Path

import pytest

from zejzl_ray.cluster_file.values_file import ClusterValues, read_values
from zejzl_ray.errors import InvalidInput

SHIPPED = Path(__file__).parents[3] / "config" / "cluster_values.yaml"


def test_the_projects_own_file_is_read() -> None:
    assert read_values(SHIPPED) == ClusterValues(
        head_name="mainpc",
        head_address="192.168.1.10",
        workers=(("pc2", "192.168.1.11"),),
        ssh_user="zejzl",
        ssh_private_key="~/.ssh/id_ed25519",
    )


def test_what_is_left_out_is_for_a_flag_or_a_question(tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    file.write_text("ssh_user: me\nworkers:\n")

    assert read_values(file) == ClusterValues(ssh_user="me")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ssh_user: me\nssh_key: x\n", r"values.yaml:2:1: .*ssh_key is no field"),
        ("head: 10.0.0.1\n", r":1:.*head must be a mapping of NAME: ADDRESS"),
        ("head: {a: 1.2.3.4, b: 1.2.3.5}\n", r":1:.*head must name one machine"),
        ("head: {a: 1.2.3.4}\nworkers:\n  A: 1.2.3.5\n", r":3:3: .*two machines are called A.*line 1"),
        ("workers:\n  pc2: 1.2.3.5\n  pc2: 1.2.3.6\n", r":3:3: .*two machines are called pc2"),
        ("workers:\n  pc2:\n", r":2:3: .*pc2 has no address"),
        ("ssh_user: [me]\n", r":1:.*ssh_user must be a text"),
        ("a: [\n", "values.yaml:"),
        ("head: {a: 1.2.3.4}\nhead: {b: 1.2.3.5}\n", r":2:1: .*head stands here again.*line 1"),
        ("[1]\n", "Write into it: head:"),
        ("", "Write into it: head:"),
    ],
)
def test_a_fault_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "values.yaml"
    file.write_text(text)

    with pytest.raises(InvalidInput, match=message):
        read_values(file)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"values\.yaml"):
        read_values(tmp_path / "values.yaml")
