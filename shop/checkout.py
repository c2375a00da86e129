"""The checkout: from a placed order to a confirmed one, or back to where it began."""

from dataclasses import replace

from sagas.definition import Begin, Lock, Parallel, Pivot, RemoteStep, Retry, Saga, Step, minutes, seconds
from shop.checkout_steps import (
    CheckoutData,
    authorize_payment,
    book_shipment,
    cancel_order,
    cancel_shipment,
    capture_payment,
    confirm_order,
    find_authorization,
    find_booking,
    find_capture,
    release_stock,
    reserve_stock,
    send_confirmation,
    validate_order,
    void_payment,
)
from shop.services import place_order

__all__ = ["Checkout", "CheckoutData"]

order_lock = Lock[CheckoutData]("shop.order", lambda data: data.order_number)

# A bank or a carrier may be down for a while; the deadline ends it, not the count.
patient = Retry(attempts=100)


class Checkout(Saga[CheckoutData]):
    name, version = "shop.checkout", 1
    deadline = minutes(30)
    # A mail that cannot be sent keeps nobody from the order.
    locks = (replace(order_lock, release_after=confirm_order),)

    steps = (
        Begin(place_order, compensation=cancel_order),
        Step(validate_order, reads_only=True),
        Parallel(
            Step(reserve_stock, compensation=release_stock),
            RemoteStep(
                authorize_payment,
                compensation=void_payment,
                check=find_authorization,
                timeout=seconds(20),
                retry=patient,
            ),
        ),
        RemoteStep(book_shipment, compensation=cancel_shipment, check=find_booking, timeout=seconds(20), retry=patient),
        Pivot(capture_payment, check=find_capture, timeout=seconds(20), retry=patient),
        Step(confirm_order),
        RemoteStep(send_confirmation, skippable=True),
    )
