"""What attempts and events have to tell, as SQL over ``scope``: the trail that a saga leaves.

An event's id grows with the order of the commits, since each holds the saga's row.
"""

from typing import Any

from sagas.audit import Rule, Verdict
from sagas.definition import newest, registry
from sagas.states import MOVES, ActionStatus, CompensationStatus, SagaStatus, Status

_PLAN = """
    , plan AS (SELECT * FROM jsonb_to_recordset(%(plans)s::jsonb) AS p(definition text, version int, known jsonb,
        newest bool, position int, place int, name text, kind text, begins bool, effect bool))
"""


def planned_rule(sentence: str, sql: str, *, verdict: Verdict = Verdict.WRONG) -> Rule:
    """A rule whose query also reads ``plan``, one row a step of every plan that this code knows."""
    return Rule(sentence, f"{_PLAN} {sql}", verdict=verdict)


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
# The first step of a plan may be done from the outset: the start of the saga was that step.
EVERY_STATUS_IS_ITS_LAST_EVENTS = Rule(
    "Every status is what its last event says it became.",
    """,
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
         CROSS JOIN LATERAL (VALUES
            ('action', step.action, CASE WHEN step.position = 0 AND step.action = 'SUCCEEDED'
                                          AND step.action_attempts = 0 THEN 'SUCCEEDED' ELSE 'PENDING' END),
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
     WHERE scope.backward AND event.step <> ''
       AND (event.what = 'compensation' AND event.after IN ('RUNNING', 'SUCCEEDED')
            AND other.after NOT IN ('SUCCEEDED', 'UNKNOWN')
         OR event.what = 'action' AND other.after IN ('RUNNING', 'SUCCEEDED'))
    """,
)
COMPENSATIONS_RUN_IN_REVERSE = planned_rule(
    "Steps are undone in the reverse order of the plan.",
    """,
    undone AS (
        SELECT scope.id, plan.name, plan.place,
               min(event.id) FILTER (WHERE event.after IN ('RUNNING', 'SUCCEEDED')) AS began,
               max(event.id) FILTER (WHERE event.after <> 'RUNNING') AS ended
          FROM scope JOIN sagas_sagaevent event ON event.saga_id = scope.id
          JOIN plan ON (plan.definition, plan.version, plan.name)
                     = (scope.definition, scope.definition_version, event.step)
         WHERE scope.backward AND event.what = 'compensation'
           AND event.after IN ('RUNNING', 'SUCCEEDED', 'WAIVED', 'NOT_NEEDED')
         GROUP BY scope.id, plan.name, plan.place HAVING bool_or(event.after <> 'NOT_NEEDED'))
    SELECT a.id, a.name, 'undone before ' || b.name, 'undone after it'
      FROM undone a JOIN undone b ON a.id = b.id AND a.place < b.place AND a.began < coalesce(b.ended, a.began + 1)
    """,
)

TRAIL_RULES = (
    ATTEMPTS_ARE_NUMBERED_WITHOUT_GAPS,
    OPEN_ATTEMPTS_HAVE_THE_TOKEN,
    NO_TOKEN_IS_AHEAD_OF_ITS_SAGA,
    EACH_HALF_TAKES_EFFECT_ONCE,
    EVENTS_FORM_A_CHAIN,
    EVERY_STATUS_IS_ITS_LAST_EVENTS,
    EVERY_MOVE_IS_LEGAL,
    NO_COMPENSATION_BEFORE_ITS_ACTION,
    COMPENSATIONS_RUN_IN_REVERSE,
)


def known_plans() -> list[dict[str, Any]]:
    """The rows of ``plan``."""
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


def legal_moves() -> list[dict[str, str]]:
    words: dict[type[Status], str] = {SagaStatus: "saga", ActionStatus: "action", CompensationStatus: "compensation"}
    start = {"what": "saga", "before": "", "after": "PENDING"}
    return [start] + [
        {"what": words[kind], "before": before, "after": after}
        for kind, moves in MOVES.items()
        for before, afters in moves.items()
        for after in afters
    ]
