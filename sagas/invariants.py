"""The engine's own invariants, as SQL over ``scope``: the sagas that an audit looks at.

A saga's row, steps, attempts, events and locks change in one commit, so that each of these holds in
every snapshot, also of a saga that moves.
"""

from collections.abc import Iterator

from sagas.audit import Rule, Scope, Verdict, Violation, auditor, broken
from sagas.trail import TRAIL_RULES, known_plans, legal_moves, planned_rule

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
COMPLETED_MEANS_EVERY_STEP_IS_DONE = planned_rule(
    "In a COMPLETED saga every step is SUCCEEDED or SKIPPED, and none was undone.",
    """
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
COMPENSATED_MEANS_NO_EFFECT_IS_LEFT = planned_rule(
    "In a COMPENSATED saga every effect is undone or waived, and nothing runs.",
    """
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
# The rules that read ``plan`` pass over a saga whose own version is not there, whatever carried it on.
PLANS_OF_THE_AUDITED_ARE_KNOWN = planned_rule(
    "Sagas that ended or go backward are held against the plan of their version.",
    """
    SELECT NULL::uuid, definition || ' version ' || definition_version,
           count(*) || CASE count(*) WHEN 1 THEN ' saga' ELSE ' sagas' END,
           'code with the plan of that version'
      FROM scope
     WHERE (backward OR status IN ('COMPLETED', 'COMPENSATED'))
       AND (definition, definition_version) NOT IN (SELECT definition, version FROM plan)
     GROUP BY definition, definition_version
    """,
    verdict=Verdict.UNSEEN,
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
LIVE_SAGAS_ARE_KNOWN_TO_THIS_CODE = planned_rule(
    "The code that runs has a plan that carries each live saga on.",
    """,
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
       AND scope.suspend_reason <> 'DEFINITION_MISMATCH' AND coalesce(scope.waiting_on ->> 'kind', '') <> 'code'
       AND (heads.version IS NULL OR step.id IS NOT NULL)
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

# --- the outbox -----------------------------------------------------------------------------------

THE_OUTBOX_IS_CARRIED = Rule(
    "An event is carried to who subscribed within five minutes.",
    """
    SELECT NULL::uuid, subject || ' ' || type, 'due since ' || due_at || coalesce(', ' || nullif(error, ''), ''),
           'carried; are the workers running?'
      FROM sagas_outboxevent WHERE due_at IS NOT NULL AND time < statement_timestamp() - interval '5 minutes'
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
    verdict=Verdict.ORPHAN,
)
SIGNALS_FIND_THEIR_SAGA = Rule(
    "A signal whose saga did not come within a day.",
    """
    SELECT NULL::uuid, signal.name || ' for ' || signal.definition || ' ' || signal.business_key,
           'kept since ' || signal.received_at, 'a saga of that key'
      FROM sagas_signal signal
     WHERE signal.consumed_at IS NULL AND signal.late = ''
       AND signal.received_at < statement_timestamp() - interval '1 day'
       AND NOT EXISTS (SELECT FROM sagas_sagainstance saga
                        WHERE (saga.definition, saga.business_key) = (signal.definition, signal.business_key))
    """,
    verdict=Verdict.ORPHAN,
)

RULES = (
    LOCKS_ARE_HELD_BY_LIVE_SAGAS,
    WAITERS_ARE_LIVE_SAGAS,
    ENDED_SAGAS_HAVE_NO_LEASE_AND_NO_TIMER,
    ENDED_SAGAS_WAIT_FOR_NOTHING,
    COMPLETED_MEANS_EVERY_STEP_IS_DONE,
    COMPENSATED_MEANS_NO_EFFECT_IS_LEFT,
    PLANS_OF_THE_AUDITED_ARE_KNOWN,
    LIVE_SAGAS_HAVE_ONE_REASON_NOT_TO_MOVE,
    DUE_SAGAS_ARE_TAKEN_UP,
    SIGNALS_WAKE_WHO_WAITS,
    LIVE_SAGAS_ARE_KNOWN_TO_THIS_CODE,
    PAST_ITS_PIVOT_A_SAGA_GOES_FORWARD,
    SIGNALS_OF_ENDED_SAGAS_ARE_CONSUMED,
    SIGNALS_FIND_THEIR_SAGA,
    THE_OUTBOX_IS_CARRIED,
    *TRAIL_RULES,
)


@auditor("sagas")
def engine_violations(scope: Scope) -> Iterator[Violation]:
    """Every row that breaks an invariant of the engine."""
    return broken(RULES, scope, plans=known_plans(), moves=legal_moves())
