"""The systemd unit of a node: what systemd thinks of it, and what the supervisor relies on."""

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

_UNIT = Path(__file__).parents[3] / "deploy" / "systemd" / "zejzl-node.service"


def _unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign] # systemd minds upper and lower case
    parser.read(_UNIT)
    return parser


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze here")
def test_systemd_finds_no_fault_in_it() -> None:
    done = subprocess.run(
        ("systemd-analyze", "verify", str(_UNIT)), capture_output=True, text=True, timeout=30, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_a_node_is_started_again_for_ever_and_stopped_in_order() -> None:
    unit = _unit()

    assert unit["Service"]["ExecStart"].endswith("zejzl node run")
    assert unit["Service"]["Restart"] == "always"
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"
    # A signal to all processes would end the raylet first, which is how `ray stop` looks.
    assert unit["Service"]["KillMode"] == "mixed"
    # Longer than the supervisor may take to end its node.
    assert int(unit["Service"]["TimeoutStopSec"]) >= 30
