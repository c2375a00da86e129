"""Tools for those who write sagas: `play` runs a plan in memory."""

from sagas.testing.play import (
    Played,
    Script,
    always,
    bug,
    done,
    lease_over,
    play,
    refused,
    transient,
    unknown,
)

__all__ = [
    "Played",
    "Script",
    "always",
    "bug",
    "done",
    "lease_over",
    "play",
    "refused",
    "transient",
    "unknown",
]
