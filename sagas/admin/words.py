"""How statuses and times look on the operator's pages: always a mark and a word, never colour alone."""

import json
from datetime import datetime, timedelta
from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timezone import now

from sagas.redaction import redact_values

MAX_JSON = 4_000

# The tone picks the colour in static/sagas/admin.css; the mark says the same without it.
_TONES = {
    "PENDING": ("quiet", "○"),
    "RUNNING": ("active", "▶"),
    "WAITING": ("wait", "◷"),
    "COMPENSATING": ("back", "◀"),
    "SUSPENDED": ("bad", "!"),
    "COMPLETED": ("good", "✓"),
    "COMPENSATED": ("undone", "↩"),
    "ABANDONED": ("bad", "✕"),
    "SUCCEEDED": ("good", "✓"),
    "FAILED": ("bad", "✕"),
    "UNKNOWN": ("bad", "?"),
    "SKIPPED": ("quiet", "↷"),
    "NOT_NEEDED": ("none", "–"),
    "WAIVED": ("wait", "~"),
    "DONE": ("good", "✓"),
    "REFUSED": ("bad", "✕"),
    "TRANSIENT": ("wait", "◷"),
    "BUG": ("bad", "!"),
    "LEASE_OVER": ("bad", "?"),
}
# A compensation that worked gave something back, and one that runs goes the other way.
_COMPENSATION_TONES = {"SUCCEEDED": ("undone", "↩"), "RUNNING": ("back", "◀")}


def look(status: str, *, compensation: bool = False) -> tuple[str, str, str]:
    """The tone, the mark and the word of a status."""
    tone, mark = _TONES.get(status, ("quiet", "•"))
    if compensation:
        tone, mark = _COMPENSATION_TONES.get(status, (tone, mark))
    return tone, mark, status.replace("_", " ").capitalize()


def badge(status: str, *, compensation: bool = False) -> SafeString:
    """A status as a mark and a word."""
    return format_html(
        '<span class="saga-badge saga-{}"><span aria-hidden="true">{}</span> {}</span>',
        *look(status, compensation=compensation),
    )


def span(length: timedelta) -> str:
    """A length of time in its two largest units: ``2 h 5 min``; milliseconds below a second."""
    seconds = length.total_seconds()
    if 0 < seconds < 0.001:
        return "under 1 ms"
    if seconds < 1:
        return f"{max(seconds, 0) * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s".replace(".0 s", " s") if seconds < 10 else f"{seconds:.0f} s"
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86_400)
    if hours < 1:
        return f"{minutes} min"
    if days < 1:
        return f"{hours} h {minutes % 60} min"
    return f"{days} d {hours % 24} h"


def moment(at: datetime | None) -> SafeString | str:
    """A time as the database has it, in UTC, with how long ago it is or how far ahead."""
    if at is None:
        return ""
    away = now() - at
    words = f"{span(away)} ago" if away >= timedelta(0) else f"in {span(-away)}"
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', at.isoformat(), words, at.strftime("%Y-%m-%d %H:%M:%S")
    )


def pretty_json(value: Any) -> str:
    """JSON to be read, with what looks like a secret blotted out."""
    text = json.dumps(redact_values(value), indent=2, ensure_ascii=False, sort_keys=True)
    return text if len(text) <= MAX_JSON else f"{text[:MAX_JSON]}\n… {len(text) - MAX_JSON} characters more"
