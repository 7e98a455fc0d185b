"""The count of the corpus, printed at the end of every run that includes it."""

from collections import Counter

import pytest

from tests.security.attack import corpus
from tests.security.mutants import checks

COUNTED = {
    "test_an_attack_is_refused": f"of {len(corpus())} attacks refused",
    "test_the_unchanged_twin_of_an_attack_passes": f"of {len(corpus())} unchanged twins accepted",
    "test_without_a_check_an_attack_that_only_it_stops_is_no_longer_refused": (
        f"of {len(checks())} checks shown to carry weight"
    ),
}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many attacks were refused, in how many classes."""
    passed = Counter(
        report.nodeid.partition("::")[2].partition("[")[0]
        for report in terminalreporter.getreports("passed")
        if report.when == "call" and "tests/security/" in report.nodeid
    )
    parts = [f"{passed[test]} {text}" for test, text in COUNTED.items() if passed[test]]
    if parts:
        groups = len({attack.group for attack in corpus()})
        terminalreporter.write_line(f"attack corpus ({groups} classes): {', '.join(parts)}")
