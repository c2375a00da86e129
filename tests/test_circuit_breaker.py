"""The circuit breaker: shared by all processes, one probe at a time, no more than an economy."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
import redis

import circuit_breaker
from circuit_breaker import CircuitBreaker, CircuitOpen
from money import Money
from payments import services as payments
from payments.exceptions import GatewayUnavailable, OutcomeUnknown
from shipping import services as shipping
from tests.sandbox.processes import SandboxProcess, bank, bank_process, carrier, carrier_process

__all__ = ["bank", "bank_process", "carrier", "carrier_process"]

SECONDS_10 = timedelta(seconds=10)


@pytest.fixture
def breaker(settings: Any) -> Iterator[CircuitBreaker]:
    settings.CIRCUIT_BREAKER_FAILURES = 3
    for name in ("bank", "carrier", "test"):
        CircuitBreaker(name).reset()
    yield CircuitBreaker("test")
    for name in ("bank", "carrier", "test"):
        CircuitBreaker(name).reset()


def fail(breaker: CircuitBreaker, times: int) -> None:
    for _ in range(times):
        with pytest.raises(RuntimeError), breaker.call():
            raise RuntimeError("down")


def let_the_open_time_pass(name: str = "test") -> None:
    circuit_breaker._redis().delete(f"circuit:{name}:open", f"circuit:{name}:probe")


def test_some_failures_in_a_row_open_the_circuit_for_every_process(breaker: CircuitBreaker):
    fail(breaker, 3)

    with pytest.raises(CircuitOpen, match="the circuit to the test is open") as refused, CircuitBreaker("test").call():
        pytest.fail("nobody calls")

    assert timedelta(seconds=10) < refused.value.retry_after <= circuit_breaker.OPEN_FOR
    assert (breaker.state().state, breaker.state().failures) == ("open", 3)


def test_a_success_in_between_forgets_the_failures(breaker: CircuitBreaker):
    fail(breaker, 2)
    with breaker.call():
        pass
    fail(breaker, 2)

    assert (breaker.state().state, breaker.state().failures) == ("closed", 2)


def test_after_a_while_one_call_probes_and_closes_the_circuit(breaker: CircuitBreaker):
    fail(breaker, 3)
    let_the_open_time_pass()
    assert breaker.state().state == "half-open"

    with breaker.call(), pytest.raises(CircuitOpen), CircuitBreaker("test").call():
        pytest.fail("one probe at a time")

    assert breaker.state().state == "closed"


def test_a_probe_that_fails_opens_it_again(breaker: CircuitBreaker):
    fail(breaker, 3)
    let_the_open_time_pass()
    fail(breaker, 1)

    assert breaker.state().state == "open"


def test_of_many_that_come_at_once_one_probes(breaker: CircuitBreaker):
    fail(breaker, 3)
    let_the_open_time_pass()
    barrier = Barrier(20)

    def try_it(_: int) -> str:
        barrier.wait(timeout=20)
        try:
            with CircuitBreaker("test").call():
                raise RuntimeError("still down")
        except (CircuitOpen, RuntimeError) as error:
            return type(error).__name__

    with ThreadPoolExecutor(20) as threads:
        results = Counter(threads.map(try_it, range(20)))

    assert results == {"RuntimeError": 1, "CircuitOpen": 19}


def test_without_redis_calls_go_through(breaker: CircuitBreaker, monkeypatch: pytest.MonkeyPatch):
    away = redis.Redis.from_url("redis://127.0.0.1:9", socket_connect_timeout=0.05, retry=None)
    monkeypatch.setattr(circuit_breaker, "_redis", lambda: away)

    fail(breaker, 5)
    with breaker.call():
        done = True

    assert done


def test_a_dead_carrier_does_not_stop_payments(breaker: CircuitBreaker, bank: SandboxProcess, settings: Any):
    settings.CARRIER_URL = "http://127.0.0.1:9"
    booking = shipping.BookingRequest("S-1", "Ada", "1 St", "Dublin", "D02", "IE", 500)
    for _ in range(5):
        with pytest.raises(shipping_unavailable()):
            shipping.book(booking, key="k", timeout=SECONDS_10)
    assert CircuitBreaker("carrier").state().state == "open"

    request = payments.AuthorizationRequest("S-1", Money(1999, "EUR").amount, "EUR", "pm_card_visa")
    authorization = payments.authorize(request, key="circuit-1", timeout=SECONDS_10)

    assert authorization.amount == 1999
    assert CircuitBreaker("bank").state().state == "closed"


def test_a_bank_that_answers_errors_is_left_alone_with_a_time_to_come_back(
    breaker: CircuitBreaker, bank: SandboxProcess
):
    bank.control(fault="error", times=-1)
    request = payments.AuthorizationRequest("S-2", 1999, "EUR", "pm_card_visa")
    for _ in range(3):
        with pytest.raises(OutcomeUnknown):
            payments.authorize(request, key="circuit-2", timeout=SECONDS_10)
    calls = bank.fired()["error"]

    with pytest.raises(GatewayUnavailable, match="left alone for now") as refused:
        payments.authorize(request, key="circuit-2", timeout=SECONDS_10)

    assert refused.value.retry_after is not None
    assert bank.fired()["error"] == calls


def test_a_declined_card_says_nothing_against_the_bank(breaker: CircuitBreaker, bank: SandboxProcess):
    for number in range(4):
        request = payments.AuthorizationRequest(f"S-{number}", 1999, "EUR", "pm_card_chargeDeclined")
        with pytest.raises(Exception, match="declined"):
            payments.authorize(request, key=f"circuit-3-{number}", timeout=SECONDS_10)

    assert (CircuitBreaker("bank").state().state, CircuitBreaker("bank").state().failures) == ("closed", 0)


def shipping_unavailable() -> type[Exception]:
    from shipping.exceptions import CarrierUnavailable

    return CarrierUnavailable
