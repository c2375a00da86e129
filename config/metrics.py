"""/metrics for Prometheus: the engine's metrics and what Redis knows of circuits, hints and workers."""

import secrets
from collections.abc import Iterable, Iterator
from http import HTTPStatus

import redis
from django.conf import settings
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from rq import Queue, Worker

from circuit_breaker import CircuitBreaker
from config.circuits import SERVICES
from sagas.jobs import QUEUE
from sagas.monitoring.metrics import SagaCollector

PERMISSION = "sagas.view_sagainstance"
PATIENCE_S = 0.2

METRICS = {
    "redis_up": ("Whether Redis answers; without it the four below are missing, and sweepers drive the sagas.", ()),
    "circuit_open": ("1 where calls are held back, or tried with a probe.", ("service",)),
    "saga_queue_depth": ("Hints that no worker has taken yet.", ()),
    "saga_workers": ("Workers that reported to the queue lately.", ()),
}


class RedisCollector(Collector):
    """What only Redis knows. It may be away: then that is the metric."""

    def collect(self) -> Iterator[Metric]:
        metrics = {metric.name: metric for metric in self.describe()}
        try:
            with redis.Redis.from_url(
                settings.REDIS_URL, socket_connect_timeout=PATIENCE_S, socket_timeout=PATIENCE_S
            ) as client:
                metrics["saga_queue_depth"].add_metric([], Queue(QUEUE, connection=client).count)
                metrics["saga_workers"].add_metric([], len(Worker.all(client)))
            for service in SERVICES:
                is_open = CircuitBreaker(service).state().state != "closed"
                metrics["circuit_open"].add_metric([service], float(is_open))
            metrics["redis_up"].add_metric([], 1)
        except redis.RedisError:
            metrics["redis_up"].add_metric([], 0)
        yield from metrics.values()

    def describe(self) -> Iterable[GaugeMetricFamily]:
        return [GaugeMetricFamily(name, text, labels=labels) for name, (text, labels) in METRICS.items()]


registry = CollectorRegistry()
registry.register(SagaCollector())
registry.register(RedisCollector())


@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """For who sends METRICS_TOKEN as a bearer token, and for staff who may see sagas."""
    if not may_read(request):
        return HttpResponse(
            "Send the METRICS_TOKEN as a bearer token, or log in as staff.\n",
            status=HTTPStatus.UNAUTHORIZED,
            headers={"WWW-Authenticate": "Bearer"},
            content_type="text/plain",
        )
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    try:
        return HttpResponse(encode(registry), content_type=content_type)
    except DatabaseError:
        # No numbers are better than some of them: Prometheus records the gap and alerts on it.
        return HttpResponse(
            "The database did not answer.\n", status=HTTPStatus.SERVICE_UNAVAILABLE, content_type="text/plain"
        )


def may_read(request: HttpRequest) -> bool:
    expected = settings.METRICS_TOKEN
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if expected and scheme.lower() == "bearer" and secrets.compare_digest(token.encode(), expected.encode()):
        return True
    user = request.user
    return user.is_active and user.is_staff and user.has_perm(PERMISSION)
