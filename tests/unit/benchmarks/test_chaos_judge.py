"""The account of the chaos run: what is right passes, and each thing that must not be is found."""

from pathlib import Path

import pytest

from benchmarks.chaos_judge import Verdict, judge, read_record, unsettled

KILLED_S = 20.0


class Notes:
    """What processes wrote down: a writer, process 1; a reader, process 2 until it is killed, then process 3."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.write("Reader.2.up", "0")
        self.write("Reader.3.up", "23")
        self.write("Writer.1.up", "0")

    def write(self, name: str, *lines: str) -> None:
        with (self._folder / name).open("a") as file:
            file.writelines(f"{line}\n" for line in lines)

    def sent(self, *lines: str) -> None:
        self.write("Writer.1.sent", *lines)

    def handled(self, pid: int, *lines: str) -> None:
        self.write(f"Reader.{pid}.handled", *lines)

    def dead(self, *lines: str) -> None:
        self.write("Out.1.dead", *lines)

    def verdict(self, *killed: int) -> Verdict:
        return judge(read_record(self._folder, dict.fromkeys(killed or (2,), KILLED_S)))


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    return Notes(tmp_path)


def test_a_run_in_which_all_is_well(notes: Notes) -> None:
    notes.sent("5 k Reader a", "5 p Reader b", "19.9 k Reader c", "19.9 p Reader d", "19.5 k Reader e")
    notes.sent("21 p Reader - AgentUnreachable", "21 p Reader f")
    notes.handled(2, "5.1 k a", "5.1 p b", "19.6 k e")
    notes.handled(3, "24 k c", "24 k e", "24 k unnoted")
    notes.dead("20.5 p Reader d unreachable - its process is gone", "23.5 p Reader f expired 0.5 late")
    verdict = notes.verdict()
    assert verdict.faults == {}
    assert (verdict.counts["sent k"], verdict.counts["delivered k"], verdict.counts["dead only k"]) == (
        3,
        3,
        0,
    )
    assert (verdict.counts["seen twice"], verdict.counts["seen twice, process died between"]) == (1, 1)
    assert verdict.counts["handled whose sender died before it noted it"] == 1
    assert verdict.counts["to living receivers"] == 2
    assert verdict.dead == {"p unreachable": 1, "p expired": 1}
    assert verdict.refused == {"p AgentUnreachable": 1}


def test_a_line_that_was_cut_off_is_left_out(notes: Notes, tmp_path: Path) -> None:
    notes.sent("5 k Reader a")
    (tmp_path / "Reader.2.handled").write_text("5.1 k a\n5.2 k")
    assert notes.verdict().faults == {}


def test_kept_mail_that_is_nowhere(notes: Notes, tmp_path: Path) -> None:
    notes.sent("5 k Reader a", "6 k Reader b")
    notes.handled(2, "5.1 k a")
    assert notes.verdict().faults["kept, and neither delivered nor a dead letter"] == ["b to Reader at 6.00"]
    assert unsettled(read_record(tmp_path, {})) == 1


def test_kept_mail_that_is_handled_and_given_up_though_its_process_lived_on(notes: Notes) -> None:
    notes.sent("5 k Reader a", "5 k Reader b")
    notes.handled(2, "5.1 k a", "19.8 k b")
    notes.dead("9 k Reader a expired 1 late", "24 k Reader b expired 1 late")
    assert notes.verdict().faults == {"kept, delivered and a dead letter": ["a: expired (late)"]}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("5.1 k a", (2, "5.2 k a")),  # the same process
        ("18.5 k a", (3, "24 k a")),  # acknowledged long before it died
        ("19.9 p a", (3, "24 p a")),  # at most once
    ],
)
def test_mail_that_is_seen_twice_without_a_reason(notes: Notes, first: str, second: tuple[int, str]) -> None:
    notes.handled(2, first)
    notes.handled(*second)
    assert list(notes.verdict().faults) == ["seen twice, and no process died between"]


def test_plain_mail_may_be_lost_with_a_process_only(notes: Notes) -> None:
    notes.sent("5 p Reader a", "18 p Reader b")
    verdict = notes.verdict()
    assert verdict.faults["lost without a trace"] == ["a to Reader at 5.00"]
    assert verdict.counts["lost with its receiver p"] == 1
    assert notes.verdict(1, 2).counts["lost with its sender p"] == 1


@pytest.mark.parametrize(
    "letter",
    [
        "6 p Reader a unreachable - gone",  # it was there all the time
        "6 p Reader a unknown_agent - gone",
        "6 p Reader a expired -0.1 early",
        "6 p Reader a expired - without a deadline",
        "6 p Reader a refused - no proof",
        "6 p Reader a mailbox_full - full",
    ],
)
def test_a_dead_letter_with_a_reason_that_is_not_true(notes: Notes, letter: str) -> None:
    notes.sent("5 p Reader a", *(f"5 p Reader {number}" for number in range(40)))
    notes.handled(2, *(f"5.1 p {number}" for number in range(40)))
    notes.dead(letter)
    assert list(notes.verdict().faults) == ["dead letters whose reason is not true"]


def test_too_little_for_living_receivers_attempts_that_raised_too(notes: Notes) -> None:
    notes.sent(*(f"5 p Reader {number}" for number in range(94)), *["5 p Reader - MailboxFull"] * 6)
    notes.handled(2, *(f"5.1 p {number}" for number in range(94)))
    verdict = notes.verdict()
    assert verdict.faults == {"too little arrived at living receivers": ["94.0% of 100"]}
