"""What the documentation points to is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])
LINK = re.compile(r"\]\(([^)#\s]+)")


@pytest.mark.parametrize("document", PAGES, ids=lambda document: str(document.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path):
    text = re.sub(r"```.*?```", "", document.read_text(), flags=re.S)
    links = [link for link in LINK.findall(text) if "://" not in link]

    assert [link for link in links if not (document.parent / link).exists()] == []
