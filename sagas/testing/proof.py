"""What a verification found: every case, and the matrix of boundaries and disturbances."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from sagas.states import SagaStatus
from sagas.testing.boundaries import Boundary

_LETTERS = {
    SagaStatus.COMPLETED: "C",
    SagaStatus.COMPENSATED: "B",
    SagaStatus.SUSPENDED: "S",
    SagaStatus.WAITING: "W",
    "": "-",
}
_LEGEND = "C completed, B back (compensated), S suspended, W waits, - not started, ! violation, . not applicable"


@dataclass(frozen=True, slots=True)
class Case:
    """One run with one disturbance, or a ``pair`` of them, and what came of it."""

    route: str
    boundary: Boundary
    disturbance: str
    end: str
    violations: tuple[str, ...] = ()
    suspend_reason: str = ""
    seconds: float = 0.0
    pair: bool = False

    def __str__(self) -> str:
        return f"{self.disturbance} at {self.boundary} (way {self.route})"


@dataclass
class Proof:
    """All cases of a verification, of ``possible`` ones and pairs of them. ``boundaries`` are those found on each way.

    ``never_passed`` are the halves of steps that stand on no way: nothing is proved of them. Print it for the matrix.
    """

    saga: str
    seed: int
    possible: int = 0
    boundaries: dict[str, list[Boundary]] = field(default_factory=dict)
    never_passed: list[str] = field(default_factory=list)
    cases: list[Case] = field(default_factory=list)

    @property
    def violations(self) -> list[str]:
        return [f"{case}: {violation}" for case in self.cases for violation in case.violations]

    def ends(self, disturbance: str) -> dict[str, int]:
        """How often the cases of one disturbance ended where, with the reason of a suspension."""
        found: dict[str, int] = {}
        for case in self.cases:
            if case.disturbance == disturbance:
                end = " ".join(filter(None, (case.end, case.suspend_reason)))
                found[end] = found.get(end, 0) + 1
        return found

    def __str__(self) -> str:
        parts = [self._summary()]
        for route, boundaries in self.boundaries.items():
            singles = [case for case in self.cases if case.route == route and not case.pair]
            parts.append(_matrix(f"{self.saga}, way {route}", boundaries, singles))
        parts += [f"no way passes {half}" for half in self.never_passed]
        parts += [f"{_letter(case)} {case}" for case in self.cases if case.pair]
        return "\n".join([*parts, _LEGEND, *(f"! {violation}" for violation in self.violations)])

    def _summary(self) -> str:
        found = sum(len(boundaries) for boundaries in self.boundaries.values())
        seconds = sum(case.seconds for case in self.cases)
        each = 1000 * seconds / max(len(self.cases), 1)
        pairs = sum(case.pair for case in self.cases)
        return (
            f"{self.saga}: {found} boundaries, {len(self.cases) - pairs} of {self.possible} cases and {pairs} pairs "
            f"in {seconds:.1f} s ({each:.0f} ms each), {len(self.violations)} violations, seed {self.seed}"
        )


def _matrix(title: str, boundaries: list[Boundary], cases: Iterable[Case]) -> str:
    cells: dict[tuple[Boundary, str], str] = {}
    for case in cases:
        cells[case.boundary, case.disturbance] = _letter(case)
    columns = list(dict.fromkeys(disturbance for _, disturbance in cells))
    width = max((len(str(boundary)) for boundary in boundaries), default=0)
    heads = "\n".join(f"{'':{width}}  {'| ' * n}{name}" for n, name in enumerate(columns))
    rows = "\n".join(
        f"{boundary!s:{width}}  " + "".join(f"{cells.get((boundary, name), '.'):2}" for name in columns).rstrip()
        for boundary in boundaries
    )
    return f"{title}\n{heads}\n{rows}"


def _letter(case: Case) -> str:
    return f"{_LETTERS.get(case.end, case.end[:3])}{'!' if case.violations else ''}"
