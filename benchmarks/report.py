"""The table, printed and written as JSON and Markdown."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from statistics import median, quantiles

from benchmarks.core import Figures

RESULTS = Path(os.environ.get("RESULTS") or Path(__file__).with_name("results"))
HEAD = (
    "| contender | sagas/s | ratio to Django loop | ratio to this engine | CPU s per 1,000: own | PostgreSQL "
    "| commits | statements | WAL bytes | p50 ms | p99 ms |"
)
BASES = ("Django loop", "this engine")


def table(figures: dict[str, Figures]) -> str:
    lines = [HEAD, "|---|" + "---:|" * (HEAD.count("|") - 2)]
    for name, seen in figures.items():
        cells = [
            f"{median(seen.rate):,.0f}",
            *(_ratio(seen, figures.get(base)) for base in BASES),
            f"{median(seen.own_cpu):.1f}" if any(seen.own_cpu) else "-",
            f"{median(seen.postgres_cpu):.1f}",
            f"{seen.commits:.1f}",
            f"{seen.statements:.1f}",
            f"{median(seen.wal):,.0f}",
            *_percentiles(seen.latencies),
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _ratio(seen: Figures, base: Figures | None) -> str:
    """The median of the ratios within each round, with the lowest and the highest."""
    if base is None:
        return "-"
    ratios = [own / other for own, other in zip(seen.rate, base.rate, strict=True)]
    return f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def _percentiles(latencies: list[float]) -> tuple[str, str]:
    if len(latencies) < 2:
        return "-", "-"
    hundredths = quantiles(latencies, n=100, method="inclusive")
    return f"{hundredths[49] * 1_000:.1f}", f"{hundredths[98] * 1_000:.1f}"


def write(name: str, title: str, figures: dict[str, Figures]) -> str:
    RESULTS.mkdir(parents=True, exist_ok=True)
    text = f"{title}\n\n{table(figures)}\n"
    (RESULTS / f"{name}.md").write_text(text)
    (RESULTS / f"{name}.json").write_text(json.dumps({k: asdict(v) for k, v in figures.items()}, indent=1))
    return text
