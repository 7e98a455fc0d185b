import copy
import pickle
import re
from collections.abc import Iterator

import pytest

from zejzl_ray import errors
from zejzl_ray.contracts.problems import error_of, problem_of, wire_status
from zejzl_ray.errors import ZejzlError


def tree(parent: type[ZejzlError]) -> Iterator[type[ZejzlError]]:
    yield parent
    for child in parent.__subclasses__():
        # a class with two parents is drawn under its first, and met once
        if child.__module__ == errors.__name__ and child.__bases__[0] is parent:
            yield from tree(child)


CLASSES = tuple(tree(ZejzlError))
every_class = pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)


def drawn_parents() -> dict[str, str]:
    """Class -> parent, as the module docstring draws it."""
    assert errors.__doc__ is not None
    parents: dict[str, str] = {}
    path: list[str] = ["ZejzlError"]
    for line in errors.__doc__.splitlines():
        if match := re.fullmatch(r"    ((?:\|   |    )*)\+-- (\w+).*", line):
            depth = len(match[1]) // 4 + 1
            del path[depth:]
            parents[match[2]] = path[-1]
            path.append(match[2])
    return parents


@every_class
def test_an_error_survives_the_trip_between_processes(cls: type[ZejzlError]) -> None:
    error = cls("the card is full", "Release a lease.")
    for back in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(back) is cls
        assert back.args == error.args
        assert back.args[:2] == ("the card is full", "Release a lease.")
        assert vars(back) == vars(error)
        assert str(back) == "the card is full Release a lease."


@every_class
def test_attributes_that_were_added_to_an_error_travel_too(cls: type[ZejzlError]) -> None:
    error = cls("m", "r")
    error.add_note("while starting")
    back = pickle.loads(pickle.dumps(error))
    assert vars(back) == vars(error)
    assert (back.message, back.remedy, back.__notes__) == ("m", "r", ["while starting"])


@every_class
def test_an_error_keeps_class_message_and_remedy_over_the_wire(cls: type[ZejzlError]) -> None:
    error = cls("the card is full", "Release a lease.")
    back = error_of(problem_of(error, "req-1"))
    assert (type(back), back.message, back.remedy) == (cls, error.message, error.remedy)


@every_class
def test_an_error_has_a_status_an_ingress_can_send(cls: type[ZejzlError]) -> None:
    status = wire_status(cls)
    assert 400 <= status.http <= 599
    assert status.grpc != 0
    assert status.title


@every_class
def test_an_error_is_documented(cls: type[ZejzlError]) -> None:
    assert cls.__doc__


@every_class
def test_details_for_programs_travel_and_stay_out_of_the_text(cls: type[ZejzlError]) -> None:
    given = {"to_agent": "planner", "available_agents": ["actor"]}
    error = cls("no such mailbox", given)
    given["to_agent"] = "changed later"
    for back in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert back.details == {"to_agent": "planner", "available_agents": ["actor"]}
        assert (back.message, back.remedy) == ("no such mailbox", "")
        assert str(back) == "no such mailbox"


@every_class
def test_an_error_without_details_has_empty_ones(cls: type[ZejzlError]) -> None:
    assert cls("m", "r").details == {}


def test_details_stand_beside_a_remedy() -> None:
    error = errors.AgentUnreachable("gone", "Ask again.", {"moves_to": "pc2"})
    back = pickle.loads(pickle.dumps(error))
    assert (str(back), back.details) == ("gone Ask again.", {"moves_to": "pc2"})


def drawn_second_parents() -> dict[str, list[str]]:
    """Class -> the parents in brackets."""
    assert errors.__doc__ is not None
    return {
        match[1]: match[2].split(", ") for match in re.finditer(r"\+-- (\w+) +\(([\w, ]+)\)", errors.__doc__)
    }


def test_the_parents_in_brackets_are_the_real_ones() -> None:
    real = {
        cls.__name__: [parent.__name__ for parent in cls.__bases__[1:]]
        for cls in CLASSES
        if len(cls.__bases__) > 1
    }
    assert drawn_second_parents() == real


def test_the_walk_meets_every_class_once() -> None:
    own = {
        cls
        for cls in vars(errors).values()
        if isinstance(cls, type) and issubclass(cls, ZejzlError) and cls.__module__ == errors.__name__
    }
    assert len(CLASSES) == len(own)
    assert set(CLASSES) == own


@pytest.mark.parametrize("cls", [errors.TimedOut, errors.RequestTimedOut])
def test_a_wait_that_took_too_long_is_the_built_in_time_out_too(cls: type[ZejzlError]) -> None:
    with pytest.raises(TimeoutError, match="no reply within 3 s"):
        raise cls("no reply within 3 s")
    assert issubclass(cls, errors.DeadlineExceeded)


def test_the_drawn_tree_is_the_real_one() -> None:
    real = {cls.__name__: cls.__bases__[0].__name__ for cls in CLASSES if cls is not ZejzlError}
    assert drawn_parents() == real


def test_every_code_belongs_to_one_class() -> None:
    codes = [cls.code for cls in CLASSES]
    assert sorted(codes) == sorted(set(codes))
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in codes)


def test_every_class_states_its_own_code() -> None:
    assert [cls.__name__ for cls in CLASSES if "code" not in vars(cls)] == []


def test_when_to_come_back_survives_the_trip_between_processes() -> None:
    error = errors.RateLimited("m", "r", 2.5)
    for back in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(back) is errors.RateLimited
        assert back.retry_after_s == 2.5
    assert str(error) == "m r"


def test_a_message_without_a_remedy_has_no_space_at_its_end() -> None:
    assert str(ZejzlError("only this")) == "only this"
    assert str(ZejzlError()) == ""
