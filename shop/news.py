"""What follows for an order and its sagas from news of the bank and the carrier, however it came in.

The participants have stored and applied the event; this is done again at every repetition.
"""

from payments import services as payments
from sagas import services as sagas
from sagas.choreography import services as choreography
from sagas.exceptions import LockTaken
from sagas.periodic import periodic
from sagas.steps import seconds
from shipping import services as shipping
from shop.after_sales import parcel_came_back
from shop.late_money import start_to_give_back
from shop.selectors import CHECKOUT
from shop.services import follow_parcel


def follow_payment(event: payments.EventReceipt) -> None:
    """A saga that waits to hear what became of a payment asks again at once. Late money goes back by itself."""
    if event.is_late_money:
        start_to_give_back(event.event_id)
    if event.reference:
        _wake(event.reference, f"the bank sent {event.event_id}")


def follow_shipment(event: shipping.EventReceipt) -> None:
    """Tracking moves an order to shipped and to delivered, never back; a parcel that came back, its return.

    Raises `LockTaken` while a saga holds the order: the news has to be told again.
    """
    if not event.reference:
        return
    _wake(event.reference, f"the carrier sent {event.event_id}")
    if event.tracking_status == "return_to_sender":
        parcel_came_back(event.reference, told_by="carrier")
    follow_parcel(event.reference, event.tracking_status)


def _wake(number: str, why: str) -> None:
    """Whoever carries the order out: its checkout, or the service whose turn it is."""
    sagas.wake(CHECKOUT, number, why=why)
    choreography.wake(number, why=why)


@periodic(every=seconds(30))
def apply_payment_news() -> int:
    """Events that came before we knew what they are about, or whose worker died. Returns how many were applied."""
    events = payments.apply_pending_events()
    for event in events:
        follow_payment(event)
    return len(events)


@periodic(every=seconds(30))
def apply_shipment_news() -> int:
    """The same for parcels; news of an order that a saga holds is kept for the next time."""
    events = shipping.apply_pending_events()
    for event in events:
        try:
            follow_shipment(event)
        except LockTaken as error:
            shipping.keep_open(event.event_id, str(error))
    return len(events)
