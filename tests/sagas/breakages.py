"""Ways to break the rows of a saga by hand, for each rule of the auditor: (rule, whose rows, SQL)."""


def step(name: str) -> str:
    return f"WHERE saga_id = %(saga)s AND name = '{name}'"


def event(name: str, what: str, after: str) -> str:
    return f"WHERE saga_id = %(saga)s AND step = '{name}' AND what = '{what}' AND after = '{after}'"


UNCHECKED = "ALTER TABLE sagas_sagainstance DROP CONSTRAINT"
SIGNAL = """
    INSERT INTO sagas_signal (definition, business_key, name, dedup_id, payload, received_at, late)
    VALUES ('{}', '{}', '{}', 'x', '1', now(), '')
"""
LOCK = """
    INSERT INTO sagas_semanticlock (resource_type, resource_id, saga_id, taken_at)
    VALUES ('trip', 'stolen', {}, now())
"""

# (rule, whose rows are broken, how)
BREAKS = [
    ("LOCKS_ARE_HELD_BY_LIVE_SAGAS", "done", LOCK.format("%(saga)s")),
    ("LOCKS_ARE_HELD_BY_LIVE_SAGAS", None, LOCK.format("NULL")),
    (
        "WAITERS_ARE_LIVE_SAGAS",
        "undone",
        "INSERT INTO sagas_lockwaiter (resource_type, resource_id, saga_id, since) "
        "VALUES ('trip', 'x', %(saga)s, now())",
    ),
    ("ENDED_SAGAS_HAVE_NO_LEASE_AND_NO_TIMER", "done", f"UPDATE sagas_sagastep SET token = 1 {step('pay')}"),
    ("ENDED_SAGAS_HAVE_NO_LEASE_AND_NO_TIMER", "undone", f"UPDATE sagas_sagastep SET due_at = now() {step('pay')}"),
    (
        "ENDED_SAGAS_WAIT_FOR_NOTHING",
        "done",
        f"{UNCHECKED} saga_waits_as_its_status_says; UPDATE sagas_sagainstance SET wake_at = now() WHERE id = %(saga)s",
    ),
    (
        "ENDED_SAGAS_WAIT_FOR_NOTHING",
        "undone",
        f"{UNCHECKED} saga_waits_as_its_status_says; "
        """UPDATE sagas_sagainstance SET waiting_on = '{"kind": "timer"}' WHERE id = %(saga)s""",
    ),
    ("COMPLETED_MEANS_EVERY_STEP_IS_DONE", "done", f"UPDATE sagas_sagastep SET action = 'UNKNOWN' {step('pay')}"),
    ("COMPLETED_MEANS_EVERY_STEP_IS_DONE", "done", f"UPDATE sagas_sagastep SET compensation = 'PENDING' {step('pay')}"),
    ("COMPLETED_MEANS_EVERY_STEP_IS_DONE", "done", f"DELETE FROM sagas_sagastep {step('reserve_hotel')}"),
    (
        "COMPENSATED_MEANS_NO_EFFECT_IS_LEFT",
        "undone",
        f"UPDATE sagas_sagastep SET compensation = 'NOT_NEEDED' {step('reserve_seat')}",
    ),
    (
        "COMPENSATED_MEANS_NO_EFFECT_IS_LEFT",
        "undone",
        f"UPDATE sagas_sagastep SET compensation = 'FAILED' {step('book_flight')}",
    ),
    ("COMPENSATED_MEANS_NO_EFFECT_IS_LEFT", "undone", f"UPDATE sagas_sagastep SET action = 'RUNNING' {step('pay')}"),
    ("COMPENSATED_MEANS_NO_EFFECT_IS_LEFT", "undone", f"DELETE FROM sagas_sagastep {step('ask_for_trip')}"),
    (
        "LIVE_SAGAS_HAVE_ONE_REASON_NOT_TO_MOVE",
        "moving",
        f"{UNCHECKED} saga_waits_as_its_status_says; UPDATE sagas_sagainstance SET wake_at = NULL WHERE id = %(saga)s",
    ),
    (
        "LIVE_SAGAS_HAVE_ONE_REASON_NOT_TO_MOVE",
        "moving",
        """UPDATE sagas_sagainstance SET waiting_on = '{"kind": "timer"}' WHERE id = %(saga)s""",
    ),
    (
        "LIVE_SAGAS_HAVE_ONE_REASON_NOT_TO_MOVE",
        "waiting",
        """UPDATE sagas_sagainstance SET waiting_on = '{"kind": "backoff"}', wake_at = NULL WHERE id = %(saga)s""",
    ),
    (
        "DUE_SAGAS_ARE_TAKEN_UP",
        "moving",
        "UPDATE sagas_sagainstance SET wake_at = now() - interval '6 minutes' WHERE id = %(saga)s",
    ),
    ("PLANS_OF_THE_AUDITED_ARE_KNOWN", None, "UPDATE sagas_sagainstance SET definition_version = 9 WHERE backward"),
    ("SIGNALS_WAKE_WHO_WAITS", "waiting", SIGNAL.format("test.return", "waiting", "parcel_back")),
    (
        "LIVE_SAGAS_ARE_KNOWN_TO_THIS_CODE",
        "waiting",
        "UPDATE sagas_sagainstance SET definition = 'gone' WHERE id = %(saga)s",
    ),
    ("LIVE_SAGAS_ARE_KNOWN_TO_THIS_CODE", "waiting", f"UPDATE sagas_sagastep SET name = 'x' {step('parcel_back')}"),
    ("PAST_ITS_PIVOT_A_SAGA_GOES_FORWARD", "done", "UPDATE sagas_sagainstance SET backward = true WHERE id = %(saga)s"),
    (
        "PAST_ITS_PIVOT_A_SAGA_GOES_FORWARD",
        "undone",
        "UPDATE sagas_sagainstance SET pivot_passed = true WHERE id = %(saga)s",
    ),
    (
        "PAST_ITS_PIVOT_A_SAGA_GOES_FORWARD",
        "done",
        "UPDATE sagas_sagainstance SET pivot_passed = false WHERE id = %(saga)s",
    ),
    (
        "ATTEMPTS_ARE_NUMBERED_WITHOUT_GAPS",
        "done",
        "DELETE FROM sagas_stepattempt WHERE saga_id = %(saga)s AND step = 'book_flight' AND number = 2",
    ),
    (
        "ATTEMPTS_ARE_NUMBERED_WITHOUT_GAPS",
        "undone",
        "UPDATE sagas_stepattempt SET number = 7 "
        "WHERE saga_id = %(saga)s AND step = 'reserve_seat' AND side = 'action'",
    ),
    (
        "OPEN_ATTEMPTS_HAVE_THE_TOKEN",
        "done",
        "UPDATE sagas_stepattempt SET ended_at = NULL WHERE saga_id = %(saga)s AND step = 'book_flight'",
    ),
    ("OPEN_ATTEMPTS_HAVE_THE_TOKEN", "waiting", f"UPDATE sagas_sagastep SET token = 1 {step('parcel_back')}"),
    ("NO_TOKEN_IS_AHEAD_OF_ITS_SAGA", "waiting", f"UPDATE sagas_sagastep SET token = 9 {step('parcel_back')}"),
    ("NO_TOKEN_IS_AHEAD_OF_ITS_SAGA", "done", "UPDATE sagas_sagainstance SET generation = 0 WHERE id = %(saga)s"),
    (
        "EACH_HALF_TAKES_EFFECT_ONCE",
        "done",
        "UPDATE sagas_stepattempt SET outcome = 'DONE' WHERE saga_id = %(saga)s AND step = 'book_flight'",
    ),
    ("EVENTS_FORM_A_CHAIN", "done", f"DELETE FROM sagas_sagaevent {event('book_flight', 'action', 'UNKNOWN')}"),
    ("EVENTS_FORM_A_CHAIN", "undone", f"DELETE FROM sagas_sagaevent {event('', 'saga', 'PENDING')}"),
    ("EVENTS_FORM_A_CHAIN", "done", f"UPDATE sagas_sagaevent SET generation = 9 {event('', 'saga', 'RUNNING')}"),
    ("EVERY_STATUS_IS_ITS_LAST_EVENTS", "done", f"DELETE FROM sagas_sagaevent {event('', 'saga', 'COMPLETED')}"),
    ("EVERY_STATUS_IS_ITS_LAST_EVENTS", "undone", f"UPDATE sagas_sagastep SET action = 'UNKNOWN' {step('pay')}"),
    (
        "EVERY_STATUS_IS_ITS_LAST_EVENTS",
        "undone",
        f"UPDATE sagas_sagastep SET compensation = 'WAIVED' {step('reserve_seat')}",
    ),
    ("EVERY_STATUS_IS_ITS_LAST_EVENTS", "moving", "DELETE FROM sagas_sagaevent WHERE saga_id = %(saga)s"),
    (
        "EVERY_MOVE_IS_LEGAL",
        "done",
        f"UPDATE sagas_sagaevent SET after = 'COMPENSATED' {event('', 'saga', 'COMPLETED')};"
        f"UPDATE sagas_sagaevent SET before = 'COMPENSATING' {event('', 'saga', 'RUNNING')} ",
    ),
    (
        "NO_COMPENSATION_BEFORE_ITS_ACTION",
        "undone",
        f"UPDATE sagas_sagaevent SET after = 'RUNNING' {event('reserve_seat', 'action', 'SUCCEEDED')}",
    ),
    (
        "NO_COMPENSATION_BEFORE_ITS_ACTION",
        "undone",
        "INSERT INTO sagas_sagaevent (saga_id, step, what, before, after, actor, why, generation, at) "
        "VALUES (%(saga)s, 'reserve_seat', 'action', 'SUCCEEDED', 'RUNNING', '', '', 9, now())",
    ),
    (
        "COMPENSATIONS_RUN_IN_REVERSE",
        "undone",
        "UPDATE sagas_sagaevent SET id = nextval('sagas_sagaevent_id_seq') "
        + event("book_flight", "compensation", "SUCCEEDED"),
    ),
    (
        "SIGNALS_OF_ENDED_SAGAS_ARE_CONSUMED",
        "undone",
        SIGNAL.format("test.trip", "undone", "parcel_back"),
    ),
    (
        "SIGNALS_FIND_THEIR_SAGA",
        None,
        SIGNAL.format("test.return", "nobody", "parcel_back").replace("now()", "now() - interval '25 hours'"),
    ),
    (
        "THE_OUTBOX_IS_CARRIED",
        None,
        "INSERT INTO sagas_outboxevent (event_id, type, source, subject, time, data, correlation_id, due_at, attempts,"
        " error) SELECT id, 'a.b', '/a', 's', now() - interval '6 minutes', '{}', id, now(), 0, '' "
        "FROM sagas_sagainstance LIMIT 1",
    ),
]
