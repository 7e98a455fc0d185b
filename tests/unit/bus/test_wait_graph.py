"""What is stuck, and in which circles."""

from tests.unit.bus.wait_reports import agent, asks, handling, report, ring
from zejzl_ray.bus.wait_graph import Request, WaitGraph
from zejzl_ray.contracts.waits import ReportWaits


def stuck_requests(*reports: ReportWaits) -> set[str]:
    return {node.correlation_id for node in WaitGraph(reports).stuck if isinstance(node, Request)}


def circles(*reports: ReportWaits) -> list[list[tuple[str, str]]]:
    graph = WaitGraph(reports)
    return [
        [(step.slot.agent, step.request.correlation_id) for step in graph.circle(component)]
        for component in graph.components()
    ]


def in_one_order(circle: list[tuple[str, str]]) -> list[tuple[str, str]]:
    first = circle.index(min(circle))
    return circle[first:] + circle[:first]


def test_two_agents_that_ask_each_other_are_stuck() -> None:
    reports = ring(("A", "B"))
    assert stuck_requests(*reports) == {"rAB", "rBA"}
    assert [in_one_order(each) for each in circles(*reports)] == [[("A", "rAB"), ("B", "rBA")]]


def test_three_agents_in_a_circle_are_named_in_its_order() -> None:
    reports = ring(("A", "B", "C"))
    assert [in_one_order(each) for each in circles(*reports)] == [[("A", "rAB"), ("B", "rBC"), ("C", "rCA")]]


def test_an_agent_that_asks_itself_is_a_circle_of_one() -> None:
    alone = report("h", (agent("A", handling("start", "self"), queued=("self",)),), (asks("self", "A", "A"),))
    assert circles(alone) == [[("A", "self")]]


def test_a_handler_that_is_asked_back_by_the_one_it_waits_for_is_a_circle_through_both_handlers() -> None:
    """A's second handler serves the request of B, and waits for B as well: handled, not queued."""
    one = report(
        "h",
        (
            agent("A", handling("start", "r1"), handling("r2", "r3", slot=1), slots=2),
            agent("B", handling("r1", "r2"), queued=("r3",)),
        ),
        (asks("r1", "A", "B"), asks("r2", "B", "A"), asks("r3", "A", "B", slot=1)),
    )
    assert stuck_requests(one) == {"r1", "r2", "r3"}
    assert [set(each) for each in circles(one)] == [{("B", "r2"), ("A", "r3")}]


def test_a_free_slot_lets_everything_go_on() -> None:
    one = report(
        "h",
        (
            agent("A", handling("start", "r1"), queued=("r2",), slots=2),
            agent("B", handling("r1", "r2")),
        ),
        (asks("r1", "A", "B"), asks("r2", "B", "A")),
    )
    assert stuck_requests(one) == set()
    assert circles(one) == []


def test_a_receiver_that_waits_lets_everything_go_on() -> None:
    one = report(
        "h",
        (agent("A", handling("x", "r"), queued=("r",), has_receiver=True),),
        (asks("r", "A", "A"),),
    )
    assert stuck_requests(one) == set()


def test_another_handler_of_the_agent_that_works_lets_its_mailbox_go_on() -> None:
    one = report(
        "h",
        (agent("A", handling("x", "r"), handling("busy", slot=1), queued=("r",), slots=2),),
        (asks("r", "A", "A"),),
    )
    assert stuck_requests(one) == set()


def test_a_handler_that_waits_for_two_goes_on_with_one() -> None:
    one = report(
        "h",
        (
            agent("A", handling("start", "r1", "other"), queued=("r2",)),
            agent("B", handling("r1", "r2")),
            agent("C", handling("other")),
        ),
        (asks("r1", "A", "B"), asks("other", "A", "C"), asks("r2", "B", "A")),
    )
    assert stuck_requests(one) == set()


def test_a_handler_that_waits_for_two_stuck_ones_is_stuck() -> None:
    one = report(
        "h",
        (
            agent("A", handling("start", "r1", "r3"), queued=("r2", "r4")),
            agent("B", handling("r1", "r2")),
            agent("C", handling("r3", "r4")),
        ),
        (asks("r1", "A", "B"), asks("r3", "A", "C"), asks("r2", "B", "A"), asks("r4", "C", "A")),
    )
    assert stuck_requests(one) == {"r1", "r2", "r3", "r4"}
    assert len(circles(one)) == 1, "they are one component, and its shortest circle is told"
    assert len(circles(one)[0]) == 2


def test_a_request_under_way_goes_on() -> None:
    """It is neither in a mailbox nor handled: it, or its reply, is somewhere between the hosts."""
    one = report("h", (agent("A", handling("start", "r1")),), (asks("r1", "A", "B"),))
    assert stuck_requests(one) == set()


def test_a_request_that_nobody_tells_of_goes_on() -> None:
    one = report("h", (agent("A", handling("start", "r1"), queued=("r2",)),), (asks("r2", "A", "A"),))
    assert stuck_requests(one) == set()


def test_a_host_that_does_not_report_is_not_suspected() -> None:
    left_out = ring(("A", "B", "C"))[:2]
    assert stuck_requests(*left_out) == set()


def test_an_agent_told_by_two_hosts_goes_on_if_it_does_in_one() -> None:
    reports = ring(("A", "B"))
    elsewhere = report("h2", (agent("A", queued=("rBA",)),), ())
    assert stuck_requests(*reports, elsewhere) == set()


def test_those_behind_a_circle_are_stuck_but_no_part_of_it() -> None:
    reports = ring(("A", "B"))
    behind = report("h3", (agent("D", handling("x", "rDA")),), (asks("rDA", "D", "A"),))
    full = reports[0].agents[0].model_copy(update={"queued": ("rBA", "rDA")})
    first = reports[0].model_copy(update={"agents": (full,)})
    assert stuck_requests(first, reports[1], behind) == {"rAB", "rBA", "rDA"}
    assert [in_one_order(each) for each in circles(first, reports[1], behind)] == [
        [("A", "rAB"), ("B", "rBA")]
    ]


def test_two_circles_apart_are_two() -> None:
    assert len(circles(*ring(("A", "B")), *ring(("C", "D", "E")))) == 2


def test_a_long_circle_does_not_need_recursion() -> None:
    names = tuple(f"N{number}" for number in range(3000))
    graph = WaitGraph(ring(names, one_host=True))
    (component,) = graph.components()
    assert len(graph.closure(component)) == 3 * len(names)
    assert len(graph._circle_from(Request("rN0N1"), component)) == 3 * len(names)


def test_mail_that_is_no_request_and_an_idle_agent_are_nothing_to_worry_about() -> None:
    idle = report("h", (agent("A"), agent("B", handling("", message="m1"))), ())
    assert WaitGraph((idle,)).stuck == frozenset()
    assert WaitGraph(()).components() == []


def test_a_step_names_handler_and_request() -> None:
    graph = WaitGraph(ring(("A", "B")))
    (component,) = graph.components()
    assert [(step.slot.agent, step.request) for step in graph.circle(component)] == [
        ("A", Request("rAB")),
        ("B", Request("rBA")),
    ]
    assert graph.successors(Request("unknown")) == []
