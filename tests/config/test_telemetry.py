"""Traces: from the web request to the last step, through any number of processes; and nothing where nobody asked."""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpResponse
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from config import telemetry
from config.apps import start_telemetry
from config.telemetry import TraceMiddleware
from sagas import tracing
from sagas.models import SagaInstance
from sagas.outcomes import Refused
from tests.sagas.conftest import begin_trip, run, run_trip, world
from tests.sagas.plans import World

__all__ = ["world"]

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    monkeypatch.setattr(TraceMiddleware, "tracer", telemetry.start(SimpleSpanProcessor(exporter)))
    yield exporter
    tracing.use(None)


def spans(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


def test_the_steps_of_a_saga_join_the_trace_of_the_request_that_started_it(
    world: World, exporter: InMemorySpanExporter, rf: Any
):
    def view(request: Any) -> HttpResponse:
        begin_trip()
        return HttpResponse()

    TraceMiddleware(view)(rf.post("/trips/", headers={"traceparent": f"00-{TRACE}-{CALLER}-01"}))
    run()

    found = spans(exporter)
    assert {f"{span.context.trace_id:032x}" for span in found.values()} == {TRACE}
    request = found["POST /unknown"]
    assert f"{request.parent.span_id:016x}" == CALLER
    flight = found["test.trip book_flight action"]
    assert flight.parent.span_id == request.context.span_id
    saga = SagaInstance.objects.get()
    assert (flight.attributes["saga.saga"], flight.attributes["saga.attempt"]) == (str(saga.pk), 1)
    assert saga.trace == f"00-{TRACE}-{request.context.span_id:016x}-01"


def test_a_step_that_is_refused_is_marked_without_the_words_of_its_error(world: World, exporter: InMemorySpanExporter):
    world.raises("pay", Refused("declined", "the card of Ada Lovelace"))
    run_trip()

    marked = [s for s in exporter.get_finished_spans() if s.name == "test.trip pay action" and not s.status.is_unset]
    assert [span.status.description for span in marked] == ["Refused"]
    assert "Lovelace" not in "".join(span.to_json() for span in exporter.get_finished_spans())


def test_a_request_is_named_by_its_route_and_not_by_its_path(
    exporter: InMemorySpanExporter, client: Any, settings: Any
):
    settings.MIDDLEWARE = ["config.telemetry.TraceMiddleware", *settings.MIDDLEWARE]

    assert client.get("/healthz").status_code == 200

    (span,) = exporter.get_finished_spans()
    assert span.name == "GET /healthz"
    assert span.attributes["http.response.status_code"] == 200
    assert span.parent is None


def test_without_a_tracer_a_saga_remembers_no_trace(world: World):
    run_trip()

    saga = SagaInstance.objects.get()
    assert (saga.status, saga.trace) == ("COMPLETED", "")


def test_nothing_is_imported_where_nobody_asked_for_it():
    # Its metrics are imported by redis where it is installed.
    named = "'config.telemetry' in sys.modules, 'opentelemetry.sdk.trace' in sys.modules"
    code = f"import django, sys; django.setup(); print({named})"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
    environment["DJANGO_SETTINGS_MODULE"] = "config.settings"

    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)

    assert done.stdout == "False False\n", done.stderr


def test_asked_for_and_not_installed_is_said_with_the_way_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delitem(sys.modules, "config.telemetry", raising=False)
    monkeypatch.delattr("config.telemetry", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)

    with pytest.raises(ImproperlyConfigured, match="pip install"):
        start_telemetry()
