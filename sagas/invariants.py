"""The engine's own invariants, as SQL over ``scope``: the sagas that an audit looks at.

A saga's row, steps, attempts, events and locks change in one commit, so that each of these holds in
every snapshot, also of a saga that moves.
"""

from collections.abc import Iterator
from typing import Any

from sagas.audit import Rule, Scope, Violation, auditor, broken
from sagas.definition import newest, registry
from sagas.states import MOVES, ActionStatus, CompensationStatus, SagaStatus, Status

# --- the end --------------------------------------------------------------------------------------

# A writer that is no saga holds its lock inside its transaction only, so nobody sees that row.
LOCKS_ARE_HELD_BY_LIVE_SAGAS = Rule(
    "A lock is held by a live saga.",
    """
    SELECT lock.saga_id, lock.resource_type || ' ' || lock.resource_id, coalesce(saga.status, 'no saga'), 'a live saga'
      FROM sagas_semanticlock lock LEFT JOIN sagas_sagainstance saga ON saga.id = lock.saga_id
     WHERE coalesce(saga.status IN ('COMPLETED', 'COMPENSATED', 'ABANDONED'), true)
    """,
)
WAITERS_ARE_LIVE_SAGAS = Rule(
    "Only a live saga stands in line for a lock.",
    """
    SELECT saga.id, waiter.resource_type || ' ' || waiter.resource_id, saga.status, 'a live saga'
      FROM sagas_lockwaiter waiter JOIN sagas_sagainstance saga ON saga.id = waiter.saga_id
     WHERE saga.status IN ('COMPLETED', 'COMPENSATED', 'ABANDONED')
    """,
)
ENDED_SAGAS_HAVE_NO_LEASE_AND_NO_TIMER = Rule(
    "A saga that has ended has no lease and no timer.",
    """
    SELECT scope.id, step.name, 'token ' || step.token || ', due ' || coalesce(step.due_at::text, 'never'),
           'token 0, due never'
      FROM scope JOIN sagas_sagastep step ON step.saga_id = scope.id
     WHERE scope.status IN ('COMPLETED', 'COMPENSATED', 'ABANDONED') AND (step.token <> 0 OR step.due_at IS NOT NULL)
    """,
)
ENDED_SAGAS_WAIT_FOR_NOTHING = Rule(
    "A saga that has ended waits for nothing.",
    """
    SELECT id, business_key, coalesce(waiting_on ->> 'kind', 'wake at ' || wake_at), 'nothing' FROM scope
     WHERE status IN ('COMPLETED', 'COMPENSATED', 'ABANDONED') AND (wake_at IS NOT NULL OR waiting_on IS NOT NULL)
    """,
)
COMPLETED_MEANS_EVERY_STEP_IS_DONE = Rule(
    "In a COMPLETED saga every step is SUCCEEDED or SKIPPED, and none was undone.",
    """
    , plan AS (SELECT * FROM jsonb_to_recordset(%(plans)s::jsonb)
        AS p(definition text, version int, position int, name text, begins bool))
    SELECT scope.id, step.name, step.action || ', compensation ' || step.compensation,
           'SUCCEEDED or SKIPPED, compensation NOT_NEEDED'
      FROM scope JOIN sagas_sagastep step ON step.saga_id = scope.id
     WHERE scope.status = 'COMPLETED'
       AND (step.action NOT IN ('SUCCEEDED', 'SKIPPED') OR step.compensation <> 'NOT_NEEDED')
    UNION ALL
    SELECT scope.id, plan.name, 'a step that never ran', 'SUCCEEDED or SKIPPED, compensation NOT_NEEDED'
      FROM scope JOIN plan ON (plan.definition, plan.version) = (scope.definition, scope.definition_version)
      LEFT JOIN sagas_sagastep step ON (step.saga_id, step.position) = (scope.id, plan.position)
     WHERE scope.status = 'COMPLETED' AND step.id IS NULL AND NOT plan.begins
    """,
)
COMPENSATED_MEANS_NO_EFFECT_IS_LEFT = Rule(
    "In a COMPENSATED saga every effect is undone or waived, and nothing runs.",
    """
    , plan AS (SELECT * FROM jsonb_to_recordset(%(plans)s::jsonb)
        AS p(definition text, version int, position int, name text, begins bool, effect bool))
    SELECT scope.id, plan.name, coalesce(step.action, 'SUCCEEDED') || ', compensation '
           || coalesce(step.compensation, 'NOT_NEEDED'), 'compensation SUCCEEDED or WAIVED where it may have happened'
      FROM scope JOIN plan ON (plan.definition, plan.version) = (scope.definition, scope.definition_version)
      LEFT JOIN sagas_sagastep step ON (step.saga_id, step.position) = (scope.id, plan.position)
     WHERE scope.status = 'COMPENSATED'
       AND CASE WHEN step.id IS NULL THEN plan.begins AND plan.effect
                ELSE step.action IN ('RUNNING', 'WAITING') OR step.compensation IN ('PENDING', 'RUNNING', 'FAILED')
                  OR plan.effect AND step.action IN ('SUCCEEDED', 'UNKNOWN')
                     AND step.compensation NOT IN ('SUCCEEDED', 'WAIVED') END
    """,
)

# --- while it lives -------------------------------------------------------------------------------

LIVE_SAGAS_HAVE_ONE_REASON_NOT_TO_MOVE = Rule(
    "A live saga has a time to be looked at, or exactly one reason to wait.",
    """
    SELECT id, business_key, status || ', waits for ' || coalesce(waiting_on ->> 'kind', 'nothing') || ', '
           || coalesce('wakes at ' || wake_at, 'never wakes'), 'a reason or a time that fits its status'
      FROM scope
     WHERE NOT CASE status
        WHEN 'COMPLETED' THEN true WHEN 'COMPENSATED' THEN true WHEN 'ABANDONED' THEN true
        WHEN 'SUSPENDED' THEN suspend_reason <> '' AND wake_at IS NULL AND waiting_on IS NULL
        WHEN 'WAITING' THEN waiting_on IS NOT NULL
             AND (wake_at IS NOT NULL OR waiting_on ->> 'kind' IN ('signal', 'human', 'lock'))
        WHEN 'COMPENSATING' THEN wake_at IS NOT NULL
        ELSE wake_at IS NOT NULL AND waiting_on IS NULL END
    """,
)
DUE_SAGAS_ARE_TAKEN_UP = Rule(
    "A saga that is due is taken up within five minutes.",
    """
    SELECT id, business_key, 'due since ' || wake_at, 'taken up; are the workers running?' FROM scope
     WHERE wake_at < statement_timestamp() - interval '5 minutes'
       AND status NOT IN ('SUSPENDED', 'COMPLETED', 'COMPENSATED', 'ABANDONED')
    """,
)
SIGNALS_WAKE_WHO_WAITS = Rule(
    "A saga does not wait for a signal that has come.",
    """
    SELECT scope.id, scope.business_key, 'waits for ' || signal.name, 'goes on with what came at ' || signal.received_at
      FROM scope JOIN sagas_signal signal
        ON (signal.definition, signal.business_key) = (scope.definition, scope.business_key)
       AND signal.name = scope.waiting_on ->> 'step' AND signal.consumed_at IS NULL AND signal.late = ''
     WHERE scope.status = 'WAITING' AND scope.waiting_on ->> 'kind' IN ('signal', 'human')
    """,
)
LIVE_SAGAS_ARE_KNOWN_TO_THIS_CODE = Rule(
    "The code that runs has a plan that carries each live saga on.",
    """
    , plan AS (SELECT * FROM jsonb_to_recordset(%(plans)s::jsonb)
        AS p(definition text, version int, known jsonb, newest bool, position int, name text, kind text)),
    heads AS (SELECT DISTINCT definition, version, known, newest FROM plan)
    SELECT scope.id, scope.business_key, scope.definition || ' version ' || scope.definition_version
           || coalesce(' at ' || step.name, ''), 'a plan with this step'
      FROM scope
      LEFT JOIN heads ON heads.definition = scope.definition AND (heads.version = scope.definition_version
                      OR heads.newest AND NOT heads.known @> to_jsonb(scope.definition_version))
      LEFT JOIN sagas_sagastep step ON step.saga_id = scope.id AND NOT EXISTS (
            SELECT FROM plan WHERE (plan.definition, plan.version) = (heads.definition, heads.version)
               AND (plan.position, plan.name, plan.kind) = (step.position, step.name, step.kind))
     WHERE scope.status NOT IN ('COMPLETED', 'COMPENSATED', 'ABANDONED')
       AND scope.suspend_reason <> 'DEFINITION_MISMATCH' AND (heads.version IS NULL OR step.id IS NOT NULL)
    """,
)
PAST_ITS_PIVOT_A_SAGA_GOES_FORWARD = Rule(
    "A saga is past its pivot when that has SUCCEEDED, and does not go backward then.",
    """
    SELECT scope.id, coalesce(step.name, scope.business_key),
           coalesce(step.action, 'no pivot') || CASE WHEN pivot_passed THEN ', passed' ELSE ', not passed' END
           || CASE WHEN backward THEN ', backward' ELSE '' END, 'passed when SUCCEEDED, and forward then'
      FROM scope LEFT JOIN sagas_sagastep step ON step.saga_id = scope.id AND step.kind = 'PIVOT'
     WHERE pivot_passed AND backward
        OR coalesce(step.action = 'SUCCEEDED', false) <> pivot_passed AND coalesce(step.action, '') <> 'SKIPPED'
    """,
)

# --- attempts -------------------------------------------------------------------------------------

ATTEMPTS_ARE_NUMBERED_WITHOUT_GAPS = Rule(
    "The attempts of a step are numbered from 1 without gaps, and their number stands at the step.",
    """
    SELECT scope.id, step.name || ' ' || half.side,
           count(attempt.id) || ' attempts, the last number ' || coalesce(max(attempt.number), 0), half.counted
      FROM scope JOIN sagas_sagastep step ON step.saga_id = scope.id
     CROSS JOIN LATERAL (VALUES ('action', step.action_attempts), ('compensation', step.compensation_attempts))
        AS half(side, counted)
      LEFT JOIN sagas_stepattempt attempt
        ON (attempt.saga_id, attempt.position, attempt.side) = (scope.id, step.position, half.side)
     GROUP BY scope.id, step.name, half.side, half.counted
    HAVING count(attempt.id) <> half.counted OR coalesce(max(attempt.number), 0) <> half.counted
    """,
)
OPEN_ATTEMPTS_HAVE_THE_TOKEN = Rule(
    "A step has an open attempt exactly when it has a token, and it is the attempt's.",
    """
    SELECT scope.id, step.name, count(attempt.id) || ' open attempts, token ' || coalesce(max(attempt.generation), 0),
           'token ' || step.token
      FROM scope JOIN sagas_sagastep step ON step.saga_id = scope.id
      LEFT JOIN sagas_stepattempt attempt
        ON (attempt.saga_id, attempt.position) = (scope.id, step.position) AND attempt.ended_at IS NULL
     GROUP BY scope.id, step.name, step.token
    HAVING count(attempt.id) <> CASE WHEN step.token = 0 THEN 0 ELSE 1 END
        OR coalesce(max(attempt.generation), 0) <> step.token
    """,
)
NO_TOKEN_IS_AHEAD_OF_ITS_SAGA = Rule(
    "No token and no attempt is of a later generation than its saga.",
    """
    SELECT scope.id, step.name, 'generation ' || greatest(step.token, max(attempt.generation)),
           'at most ' || scope.generation
      FROM scope JOIN sagas_sagastep step ON step.saga_id = scope.id
      LEFT JOIN sagas_stepattempt attempt ON (attempt.saga_id, attempt.position) = (scope.id, step.position)
     GROUP BY scope.id, step.name, step.token, scope.generation
    HAVING greatest(step.token, max(attempt.generation)) > scope.generation
    """,
)
EACH_HALF_TAKES_EFFECT_ONCE = Rule(
    "An action or a compensation takes effect at most once.",
    """
    SELECT scope.id, attempt.step || ' ' || attempt.side, count(*) || ' attempts DONE', 'at most 1'
      FROM scope JOIN sagas_stepattempt attempt ON attempt.saga_id = scope.id AND attempt.outcome = 'DONE'
     GROUP BY scope.id, attempt.step, attempt.side HAVING count(*) > 1
    """,
)

# --- events ---------------------------------------------------------------------------------------

# An event's id grows with the order of the commits, since they hold the saga's row.
EVENTS_FORM_A_CHAIN = Rule(
    "Each event begins where the one before it ended, and the generation only grows.",
    """
    SELECT id, step || what, before || ' of generation ' || generation,
           previous || ' of generation ' || coalesce(last_generation, 0) || ' or later'
      FROM (SELECT scope.id, event.what, event.before, event.generation,
                   CASE event.step WHEN '' THEN '' ELSE event.step || ' ' END AS step,
                   lag(event.after, 1, CASE event.what WHEN 'saga' THEN '' WHEN 'action' THEN 'PENDING'
                       ELSE 'NOT_NEEDED' END) OVER (PARTITION BY scope.id, event.step, event.what ORDER BY event.id)
                       AS previous,
                   lag(event.generation) OVER (PARTITION BY scope.id ORDER BY event.id) AS last_generation
              FROM scope JOIN sagas_sagaevent event ON event.saga_id = scope.id) AS chain
     WHERE before <> previous OR generation < last_generation
    """,
)
EVERY_STATUS_IS_ITS_LAST_EVENTS = Rule(
    "Every status is what its last event says it became.",
    """
    , plan AS (SELECT * FROM jsonb_to_recordset(%(plans)s::jsonb)
        AS p(definition text, version int, name text, begins bool) WHERE begins),
    last AS (
        SELECT DISTINCT ON (event.saga_id, event.step, event.what)
               event.saga_id, event.step, event.what, event.after
          FROM scope JOIN sagas_sagaevent event ON event.saga_id = scope.id
         ORDER BY event.saga_id, event.step, event.what, event.id DESC),
    stands AS (
        SELECT id AS saga_id, '' AS step, 'saga' AS what, status, '' AS untouched FROM scope
        UNION ALL
        SELECT scope.id, step.name, half.what, half.status, half.untouched
          FROM scope JOIN sagas_sagastep step ON step.saga_id = scope.id
          LEFT JOIN plan ON plan.definition = scope.definition AND plan.version = scope.definition_version
                        AND plan.name = step.name
         CROSS JOIN LATERAL (VALUES
            ('action', step.action, CASE WHEN plan.begins THEN 'SUCCEEDED' ELSE 'PENDING' END),
            ('compensation', step.compensation, 'NOT_NEEDED')) AS half(what, status, untouched))
    SELECT stands.saga_id, trim(stands.step || ' ' || stands.what), stands.status,
           coalesce(last.after, stands.untouched)
      FROM stands LEFT JOIN last USING (saga_id, step, what)
     WHERE stands.status <> coalesce(last.after, stands.untouched)
    """,
)
EVERY_MOVE_IS_LEGAL = Rule(
    "Every change of a status is one that the table of moves knows.",
    """
    , legal AS (SELECT * FROM jsonb_to_recordset(%(moves)s::jsonb) AS m(what text, before text, after text))
    SELECT scope.id, trim(event.step || ' ' || event.what), event.before || ' to ' || event.after, 'a legal move'
      FROM scope JOIN sagas_sagaevent event ON event.saga_id = scope.id
      LEFT JOIN legal USING (what, before, after)
     WHERE legal.what IS NULL
    """,
)
NO_COMPENSATION_BEFORE_ITS_ACTION = Rule(
    "A compensation starts when its action has settled, as SUCCEEDED or UNKNOWN, and the action rests from then on.",
    """
    SELECT scope.id, event.step, event.what || ' ' || event.after || ' after ' || other.after,
           'an action that has settled first'
      FROM scope JOIN sagas_sagaevent event ON event.saga_id = scope.id
      JOIN LATERAL (SELECT after FROM sagas_sagaevent earlier
                     WHERE earlier.saga_id = scope.id AND earlier.step = event.step AND earlier.id < event.id
                       AND earlier.what = CASE event.what WHEN 'action' THEN 'compensation' ELSE 'action' END
                     ORDER BY earlier.id DESC LIMIT 1) AS other ON true
     WHERE event.step <> ''
       AND (event.what = 'compensation' AND event.after IN ('RUNNING', 'SUCCEEDED')
            AND other.after NOT IN ('SUCCEEDED', 'UNKNOWN')
         OR event.what = 'action' AND other.after IN ('RUNNING', 'SUCCEEDED'))
    """,
)
COMPENSATIONS_RUN_IN_REVERSE = Rule(
    "Steps are undone in the reverse order of the plan.",
    """
    , plan AS (SELECT * FROM jsonb_to_recordset(%(plans)s::jsonb)
        AS p(definition text, version int, place int, name text)),
    undone AS (
        SELECT scope.id, plan.name, plan.place, min(event.id) AS began,
               max(event.id) FILTER (WHERE event.after <> 'RUNNING') AS ended
          FROM scope JOIN sagas_sagaevent event ON event.saga_id = scope.id
          JOIN plan ON (plan.definition, plan.version, plan.name)
                     = (scope.definition, scope.definition_version, event.step)
         WHERE scope.backward AND event.what = 'compensation' AND event.after IN ('RUNNING', 'SUCCEEDED', 'WAIVED')
         GROUP BY scope.id, plan.name, plan.place)
    SELECT a.id, a.name, 'undone before ' || b.name, 'undone after it'
      FROM undone a JOIN undone b ON a.id = b.id AND a.place < b.place AND a.began < coalesce(b.ended, a.began + 1)
    """,
)

# --- signals --------------------------------------------------------------------------------------

SIGNALS_OF_ENDED_SAGAS_ARE_CONSUMED = Rule(
    "A signal that its saga did not consume before it ended.",
    """
    SELECT saga.id, signal.name || ' for ' || signal.business_key, 'left over since ' || signal.received_at,
           'consumed, or handled as late'
      FROM sagas_signal signal
      JOIN sagas_sagainstance saga
        ON (saga.definition, saga.business_key) = (signal.definition, signal.business_key)
     WHERE signal.consumed_at IS NULL AND signal.late = '' AND saga.status IN ('COMPLETED', 'COMPENSATED', 'ABANDONED')
    """,
    orphan=True,
)

RULES = (
    LOCKS_ARE_HELD_BY_LIVE_SAGAS,
    WAITERS_ARE_LIVE_SAGAS,
    ENDED_SAGAS_HAVE_NO_LEASE_AND_NO_TIMER,
    ENDED_SAGAS_WAIT_FOR_NOTHING,
    COMPLETED_MEANS_EVERY_STEP_IS_DONE,
    COMPENSATED_MEANS_NO_EFFECT_IS_LEFT,
    LIVE_SAGAS_HAVE_ONE_REASON_NOT_TO_MOVE,
    DUE_SAGAS_ARE_TAKEN_UP,
    SIGNALS_WAKE_WHO_WAITS,
    LIVE_SAGAS_ARE_KNOWN_TO_THIS_CODE,
    PAST_ITS_PIVOT_A_SAGA_GOES_FORWARD,
    ATTEMPTS_ARE_NUMBERED_WITHOUT_GAPS,
    OPEN_ATTEMPTS_HAVE_THE_TOKEN,
    NO_TOKEN_IS_AHEAD_OF_ITS_SAGA,
    EACH_HALF_TAKES_EFFECT_ONCE,
    EVENTS_FORM_A_CHAIN,
    EVERY_STATUS_IS_ITS_LAST_EVENTS,
    EVERY_MOVE_IS_LEGAL,
    NO_COMPENSATION_BEFORE_ITS_ACTION,
    COMPENSATIONS_RUN_IN_REVERSE,
    SIGNALS_OF_ENDED_SAGAS_ARE_CONSUMED,
)


@auditor("sagas")
def engine_violations(scope: Scope) -> Iterator[Violation]:
    """Every row that breaks an invariant of the engine."""
    return broken(RULES, scope, plans=_plans(), moves=_moves())


def _plans() -> list[dict[str, Any]]:
    """One row a step of every plan that this code knows."""
    rows = []
    for plan in registry.values():
        known = [version for name, version in registry if name == plan.name]
        rows += [
            {
                "definition": plan.name,
                "version": plan.version,
                "known": known,
                "newest": plan is newest(plan.name),
                "position": step.position,
                "place": step.place,
                "name": step.name,
                "kind": step.kind,
                "begins": step.begins,
                "effect": step.has_effect,
            }
            for step in plan.steps
        ]
    return rows


def _moves() -> list[dict[str, str]]:
    words: dict[type[Status], str] = {SagaStatus: "saga", ActionStatus: "action", CompensationStatus: "compensation"}
    start = {"what": "saga", "before": "", "after": "PENDING"}
    return [start] + [
        {"what": words[kind], "before": before, "after": after}
        for kind, moves in MOVES.items()
        for before, afters in moves.items()
        for after in afters
    ]
