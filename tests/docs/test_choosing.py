"""Whatever docs/choosing.md leads to is there, and the tests that it names exist."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
LINKS = re.findall(r"\]\(([^)\s]+)(?: \"(\w+)\")?\)", (DOCS / "choosing.md").read_text())


@pytest.mark.parametrize(("path", "test"), sorted(set(LINKS)))
def test_every_claim_leads_to_what_shows_it(path: str, test: str):
    shown = (DOCS / path).resolve()

    assert shown.is_file()
    assert not test or f"\ndef {test}(" in shown.read_text()


def test_there_are_claims():
    assert sum(bool(test) for _, test in LINKS) >= 20
