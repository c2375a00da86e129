"""OpenTelemetry, where it is installed and asked for: a span for each web request, and below it those of its sagas.

Nothing of it is imported otherwise; `config.apps` decides.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from django.http import HttpRequest, HttpResponseBase
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.propagate import extract, inject
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.trace import SpanKind, Status, StatusCode

from sagas import tracing


class SagaTracer:
    """The engine's `Tracer` by OpenTelemetry."""

    def __init__(self, provider: TracerProvider) -> None:
        self._tracer = provider.get_tracer("sagas")

    def traceparent(self) -> str:
        carrier: dict[str, str] = {}
        inject(carrier)
        return carrier.get("traceparent", "")

    @contextmanager
    def span(
        self,
        name: str,
        parent: str,
        attributes: Mapping[str, str | int],
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
    ) -> Iterator[trace.Span]:
        context = context or (extract({"traceparent": parent}) if parent else None)
        named = {f"saga.{key}": value for key, value in attributes.items()}
        # The message of an exception is not redacted: its kind is enough here.
        with self._tracer.start_as_current_span(
            name, context, kind, named, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield span
            except BaseException as error:
                span.set_status(Status(StatusCode.ERROR, type(error).__name__))
                raise


def start(processor: SpanProcessor | None = None) -> SagaTracer:
    """Trace this process. Where spans go, and which of them, OpenTelemetry's own variables say."""
    provider = TracerProvider(resource=Resource.create({"service.name": "saga-shop"}))
    if processor is None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        processor = BatchSpanProcessor(OTLPSpanExporter())
    provider.add_span_processor(processor)
    tracer = SagaTracer(provider)
    tracing.use(tracer)
    return tracer


class TraceMiddleware:
    """One span a request, in the trace of whoever sent it. Sagas that are started in it remember it."""

    tracer: SagaTracer | None = None

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if self.tracer is None:
            return self._get_response(request)
        sent = extract({"traceparent": request.headers.get("traceparent", "")})
        with self.tracer.span(str(request.method), "", {}, sent, SpanKind.SERVER) as span:
            response = self._get_response(request)
            # The pattern, not the path: an order's number or a token stands in no trace.
            route = request.resolver_match.route if request.resolver_match else "unknown"
            span.update_name(f"{request.method} /{route}")
            span.set_attribute("http.request.method", str(request.method))
            span.set_attribute("http.route", f"/{route}")
            span.set_attribute("http.response.status_code", response.status_code)
            if response.status_code >= 500:
                span.set_status(Status(StatusCode.ERROR))
            return response
