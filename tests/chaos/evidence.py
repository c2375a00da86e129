"""What a run leaves to read: its numbers, and everything about the sagas that did not end."""

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

from tests.chaos.world import WEATHER, World


def numbers(world: World, seconds: float, healed_at: float) -> dict[str, Any]:
    """What was achieved meanwhile. Waits are from placed to at rest."""
    waits = world.rows(
        """
        SELECT count(*)::int AS ended, coalesce(max(extract(epoch FROM ended_at - created_at)), 0)::float AS longest,
               coalesce(percentile_cont(ARRAY[0.5, 0.99]) WITHIN GROUP
                   (ORDER BY extract(epoch FROM ended_at - created_at)), '{0,0}')::float[] AS percentiles,
               count(*) FILTER (WHERE ended_at < to_timestamp(%s))::int AS under_fire
          FROM sagas_sagainstance WHERE ended_at IS NOT NULL
        """,
        healed_at,
    )[0]
    by_status = world.rows("SELECT status, count(*)::int AS n FROM shop_order GROUP BY status ORDER BY status")
    sagas = world.rows("SELECT status, count(*)::int AS n FROM sagas_sagainstance GROUP BY status ORDER BY status")
    outcomes = world.rows("SELECT outcome, count(*)::int AS n FROM sagas_stepattempt GROUP BY outcome ORDER BY outcome")
    log = world.log.read_text(errors="replace")
    return {
        "orders": {row["status"]: row["n"] for row in by_status},
        "sagas": {row["status"]: row["n"] for row in sagas},
        "attempts": {row["outcome"] or "open": row["n"] for row in outcomes},
        "sagas ended while faults lasted": waits["under_fire"],
        "sagas a second while faults lasted": round(waits["under_fire"] / seconds, 2),
        "wait p50 s": round(waits["percentiles"][0], 2),
        "wait p99 s": round(waits["percentiles"][1], 2),
        "longest wait s": round(waits["longest"], 2),
        "late outcomes that missed (fenced)": log.count("a late outcome of"),
        "tracebacks in the log": dict(Counter(last_lines(log))),
    }


def last_lines(log: str) -> Iterator[str]:
    """The exception that each traceback in the log ends with."""
    inside: set[str] = set()
    for line in log.splitlines():
        part, _, text = line.partition(" | ")
        if text.startswith("Traceback (most recent call last)"):
            inside.add(part)
        elif part in inside and text and not text.startswith(" "):
            inside.discard(part)
            yield f"{part.strip()}: {text[:120]}"


def stuck_sagas(world: World) -> dict[str, Any]:
    """Everything about the sagas that did not end, and what PostgreSQL is doing, for whoever looks for the reason."""
    stuck = "SELECT id FROM sagas_sagainstance WHERE status NOT IN ('COMPLETED', 'COMPENSATED') ORDER BY id LIMIT 20"
    questions = {
        "sagas": f"SELECT to_jsonb(s) AS row FROM sagas_sagainstance s WHERE id IN ({stuck})",
        "steps": f"SELECT to_jsonb(s) AS row FROM sagas_sagastep s WHERE saga_id IN ({stuck}) ORDER BY id",
        "attempts": f"SELECT to_jsonb(a) AS row FROM sagas_stepattempt a WHERE saga_id IN ({stuck}) ORDER BY id",
        "events": f"SELECT to_jsonb(e) AS row FROM sagas_sagaevent e WHERE saga_id IN ({stuck}) ORDER BY id",
        "semantic locks": "SELECT to_jsonb(l) AS row FROM sagas_semanticlock l LIMIT 50",
        "sessions": "SELECT to_jsonb(a) AS row FROM pg_stat_activity a WHERE datname = current_database()",
        "database locks": "SELECT to_jsonb(l) AS row FROM pg_locks l WHERE NOT granted",
    }
    found: dict[str, Any] = {"at": time.time()}
    for name, question in questions.items():
        try:
            found[name] = [row["row"] for row in world.rows(question)]
        except WEATHER as error:
            found[name] = str(error)
    return found
