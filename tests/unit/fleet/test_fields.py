from zejzl_ray.fleet.document import Scalar
from zejzl_ray.fleet.fields import FieldReader
from zejzl_ray.fleet.finding import Place
from zejzl_ray.fleet.suggest import closest, did_you_mean

NOTHING = Scalar(None, "", Place("f.yaml", 1, 1))


def test_null_is_absent_for_every_kind_of_value() -> None:
    reader = FieldReader({})
    assert reader.port(NOTHING, "p") is None
    assert reader.boolean(NOTHING, "p") is None
    assert reader.text(NOTHING, "p") is None
    assert reader.amount(NOTHING, "p", is_whole=True) is None
    assert reader.names(NOTHING, "p") == ()
    assert reader.texts(NOTHING, "p") == {}
    assert reader.plain_table(NOTHING, "p") == {}
    assert reader.findings == []


def test_the_near_word_is_found_whatever_its_case() -> None:
    assert closest("serviceregistry", ["ServiceRegistry", "Other"]) == "ServiceRegistry"
    assert closest("xyz", ["ServiceRegistry"]) == ""
    assert did_you_mean("xyz", ["ServiceRegistry"], "Look.") == "Look."
