from zejzl_ray.orchestrator.indexes import Claims, GroupIndex, NameGroup


def test_an_order_once_read_is_kept_up_to_date() -> None:
    group = NameGroup("b", "d")
    assert group.ordered() == ["b", "d"]
    for name in ("a", "c", "c", "e"):
        group.add(name)
    group.discard("d")
    group.discard("unknown")
    assert group.ordered() == ["a", "b", "c", "e"]
    assert list(group.after("b")) == ["c", "e"]
    assert list(group.after("bb")) == ["c", "e"]
    assert list(group.after("")) == ["a", "b", "c", "e"]
    assert len(group) == 4
    assert "c" in group


def test_an_order_that_was_dropped_is_made_again() -> None:
    group = NameGroup("b")
    group.ordered()
    group.forget_order()
    group.add("a")
    group.discard("x")
    assert group.ordered() == ["a", "b"]


def test_groups_grow_shrink_and_disappear() -> None:
    index: GroupIndex[str] = GroupIndex()
    index.add("gpu", "A")
    index.add("gpu", "A")
    assert index.group("gpu").ordered() == ["A"]
    index.add("gpu", "B")
    index.add("gpu", "C")
    index.add("cpu", "B")
    assert index.as_sets() == {"gpu": {"A", "B", "C"}, "cpu": {"B"}}
    index.forget_order()
    for name in ("A", "B", "C"):
        index.discard("gpu", name)
    index.discard("cpu", "X")
    index.discard("cpu", "B")
    index.discard("never", "B")
    assert index.as_sets() == {}
    assert len(index.group("gpu")) == 0


def test_the_first_claim_goes_first_and_the_next_one_inherits() -> None:
    claims = Claims()
    for name in ("A", "B", "A", "C"):
        claims.add("alias", name)
    assert claims.holders("alias") == ("A", "B", "C")
    claims.discard("alias", "A")
    assert claims.holders("alias") == ("B", "C")
    claims.discard("alias", "B")
    assert claims.as_pairs() == {("alias", "C")}
    claims.discard("alias", "C")
    claims.discard("alias", "C")
    assert claims.holders("alias") == ()
