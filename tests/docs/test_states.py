"""docs/states.md says what sagas/states.py does."""

import re
from pathlib import Path

import pytest

from sagas.outcomes import OutcomeKind
from sagas.states import MOVES, ActionStatus, CompensationStatus, SagaStatus, SuspendReason

TEXT = (Path(__file__).parents[2] / "docs" / "states.md").read_text()


def table(heading: str) -> list[list[str]]:
    section = TEXT.split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    return rows[2:]


@pytest.mark.parametrize(
    ("heading", "kind"),
    [("The saga", SagaStatus), ("An action", ActionStatus), ("A compensation", CompensationStatus)],
)
def test_the_documented_moves_are_the_legal_ones(heading: str, kind: type):
    documented = {row[0]: set(re.findall(r"[A-Z_]{3,}", row[3])) for row in table(heading)}

    assert documented == {str(status): {str(after) for after in MOVES[kind][status]} for status in kind}


def test_every_reason_and_every_outcome_is_documented_once():
    assert [row[0] for row in table("Why a saga is SUSPENDED")] == [str(reason) for reason in SuspendReason]
    assert sorted(row[0] for row in table("What an attempt comes to")) == sorted(map(str, OutcomeKind))
