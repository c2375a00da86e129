"""Tools for those who write sagas: `play` in memory, `verify` on PostgreSQL with everything broken."""

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
from sagas.testing.proof import Case, Proof
from sagas.testing.verify import verify
from sagas.testing.witness import Witness, World

__all__ = [
    "Case",
    "Played",
    "Proof",
    "Script",
    "Witness",
    "World",
    "always",
    "bug",
    "done",
    "lease_over",
    "play",
    "refused",
    "transient",
    "unknown",
    "verify",
]
