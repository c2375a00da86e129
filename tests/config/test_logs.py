"""Log lines name the saga and the step they are about, whoever writes them."""

import io
import json
import logging
from collections.abc import Callable, Iterator

import pytest
from structlog.contextvars import bound_contextvars

from config import logs
from sagas.models import SagaInstance
from tests.sagas.conftest import run_trip, world
from tests.sagas.plans import World

__all__ = ["world"]

logger = logging.getLogger("tests.logs")

Lines = Callable[[], list[str]]


@pytest.fixture
def written(request: pytest.FixtureRequest) -> Iterator[Lines]:
    """What a handler with the formatter ``request.param`` writes."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(request.param())
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield lambda: stream.getvalue().splitlines()
    logger.removeHandler(handler)


as_line = pytest.mark.parametrize("written", [logs.line], indirect=True)
as_json = pytest.mark.parametrize("written", [logs.as_json], indirect=True)


@as_json
@pytest.mark.parametrize(("step", "side"), [("reserve_seat", "action"), ("book_flight", "action")])
def test_a_step_logs_with_its_saga_wherever_it_runs(world: World, written: Lines, step: str, side: str):
    world.does(step, lambda: logger.info("in the middle of %s", step))
    saga = run_trip()

    (found,) = map(json.loads, written())
    assert found.pop("timestamp").endswith("Z")
    assert found == {
        "message": f"in the middle of {step}",
        "level": "info",
        "logger": "tests.logs",
        "saga": str(saga.pk),
        "definition": "test.trip",
        "key": "T1",
        "step": step,
        "side": side,
        "attempt": 1,
    }


@as_json
def test_nothing_is_bound_when_the_step_is_over(world: World, written: Lines):
    run_trip()
    logger.info("later")

    assert SagaInstance.objects.get().status == "COMPLETED"
    assert json.loads(written()[0]).keys() == {"message", "level", "logger", "timestamp"}


@as_line
def test_a_line_for_people_has_it_behind_the_words(written: Lines):
    logger.warning("plain %s", "words")
    with bound_contextvars(step="pay", attempt=2):
        logger.warning("money")

    assert written() == ["WARNING tests.logs: plain words", "WARNING tests.logs: money [attempt=2 step=pay]"]


@pytest.mark.parametrize("written", [logs.line, logs.as_json], indirect=True)
def test_a_traceback_shows_no_values_of_variables(written: Lines):
    secret = "sk_live_" + "1" * 20
    try:
        raise ValueError("no")
    except ValueError:
        logger.exception("it broke")

    text = "\n".join(written())
    assert "Traceback (most recent call last)" in text
    assert "ValueError: no" in text
    assert secret not in text
