"""What has to hold between trips, places and offers, as SQL. Part of every audit."""

from collections.abc import Iterator

from sagas.audit import Rule, Scope, Violation, auditor, broken

# The trips that the scope is about, each with its saga and what it holds. One whose saga a person closed
# knowingly is left out, and one of which a person has waived that something be undone.
_TRIPS = """
    , trips AS (
        SELECT scope.id AS saga, scope.status AS ended, trip.number, trip.status, paid_amount,
               (SELECT count(*) FROM travel_place place
                 WHERE place.trip_number = trip.number AND place.status = 'held') AS held
          FROM scope JOIN travel_trip trip ON trip.number = scope.business_key
         WHERE scope.definition = 'travel.book_trip' AND scope.status <> 'ABANDONED' AND NOT EXISTS (
               SELECT FROM sagas_sagastep step WHERE step.saga_id = scope.id AND step.compensation = 'WAIVED'))
"""

A_TRIP_IS_WHERE_ITS_SAGA_IS = Rule(
    "A trip is booked when its saga is completed, and cancelled when that was turned back.",
    f"""
    {_TRIPS}, expected AS (
        SELECT trips.*, CASE ended WHEN 'COMPLETED' THEN 'booked' WHEN 'COMPENSATED' THEN 'cancelled'
               ELSE 'requested' END AS expected FROM trips)
    SELECT saga, number, status, expected FROM expected WHERE status <> expected
    """,  # noqa: S608 - made of constants
)
A_TRIP_HAS_ALL_OR_NOTHING = Rule(
    "A booked trip has flight, hotel and car, and a cancelled one nothing, for nothing.",
    f"""
    {_TRIPS}
    SELECT saga, number, held || ' places for ' || paid_amount,
           CASE status WHEN 'booked' THEN '3 places for ' || paid_amount ELSE '0 places for 0' END FROM trips
     WHERE status = 'booked' AND held <> 3 OR status = 'cancelled' AND (held <> 0 OR paid_amount <> 0)
    """,  # noqa: S608 - made of constants
)
WHAT_IS_TAKEN_IS_HELD = Rule(
    "Of an offer as many places are taken as are held.",
    """
    SELECT NULL::uuid, code, taken, count(place.id)
      FROM travel_offer offer LEFT JOIN travel_place place ON place.offer_id = offer.id AND place.status = 'held'
     GROUP BY offer.id HAVING taken <> count(place.id)
    """,
)


@auditor("trips")
def trip_violations(scope: Scope) -> Iterator[Violation]:
    """Trips that disagree with their saga, or with what they hold."""
    return broken([A_TRIP_IS_WHERE_ITS_SAGA_IS, A_TRIP_HAS_ALL_OR_NOTHING], scope)


@auditor("offers", everything_only=True)
def offer_violations(scope: Scope) -> Iterator[Violation]:
    """The count of every offer; all places are read for it."""
    return broken([WHAT_IS_TAKEN_IS_HELD], scope)
