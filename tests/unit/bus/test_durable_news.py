from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.bus.durable_news import DurableNews
from zejzl_ray.bus.ports import News

REJECTED = (3, DeadLetterReason.EXPIRED, "late")


def everything() -> DurableNews:
    news = DurableNews()
    news.settled("h", "h~1", [1])
    news.settled("h", "h~1", [2])
    news.rejected("h", "h~1", REJECTED)
    news.welcome("h", "h~2", [4])
    return news


def test_news_are_taken_once_by_the_process_they_are_for() -> None:
    news = everything()
    assert news.take("other", "o~1", {}) is None
    assert news.take("h", "o~1", {"reader": 7}) == News(
        origin="o~1",
        oldest={"reader": 7},
        settled={"h~1": (1, 2)},
        rejected={"h~1": (REJECTED,)},
        welcome={"h~2": (4,)},
    )
    assert news.take("h", "o~1", {}) is None
    assert news.take("h", "o~1", {"reader": 7}) == News(origin="o~1", oldest={"reader": 7})


def test_news_that_were_not_heard_are_to_be_told_again_until_the_process_is_heard_of() -> None:
    news = everything()
    assert news.to_retry() == []  # they go with the next call
    taken = news.take("h", "", {})
    assert taken is not None
    news.put_back("h", taken)
    assert news.to_retry() == ["h"]
    assert news.take("h", "", {}) == taken
    assert news.to_retry() == []  # under way
    news.put_back("h", taken)
    news.heard("h")
    assert news.to_retry() == []


def test_what_is_only_told_along_with_mail_is_not_told_again() -> None:
    news = DurableNews()
    news.put_back("h", News(origin="o~1", oldest={"reader": 7}))
    assert news.to_retry() == []


def test_a_process_that_is_away_for_long_is_not_told_any_more() -> None:
    news = everything()
    taken = news.take("h", "", {})
    assert taken is not None
    tries = 0
    news.put_back("h", taken)
    while news.to_retry():
        tries += 1
        again = news.take("h", "", {})
        assert again is not None
        news.put_back("h", again)
    assert tries == 10
    assert news.take("h", "", {}) is None
