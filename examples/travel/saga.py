"""A trip: flight, hotel and car are reserved at the same time; one that is sold out gives the others back."""

from examples.travel.services import book_trip
from examples.travel.steps import (
    TripData,
    cancel_trip,
    confirm_trip,
    release_car,
    release_flight,
    release_hotel,
    reserve_car,
    reserve_flight,
    reserve_hotel,
    take_payment,
)
from sagas.definition import Begin, Parallel, Pivot, Saga, Step, minutes

__all__ = ["BookTrip", "TripData"]


class BookTrip(Saga[TripData]):
    name, version = "travel.book_trip", 1
    deadline = minutes(10)

    steps = (
        Begin(book_trip, compensation=cancel_trip),
        Parallel(
            Step(reserve_flight, compensation=release_flight),
            Step(reserve_hotel, compensation=release_hotel),
            Step(reserve_car, compensation=release_car),
        ),
        Pivot(take_payment),
        Step(confirm_trip),
    )
