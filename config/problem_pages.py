"""The pages that the ``type`` of a problem leads to, made from the exceptions themselves."""

from inspect import cleandoc

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from rest_framework import exceptions

from config.problems import STANDARD, slug_of, title_of


def problem_kinds() -> dict[str, type[exceptions.APIException]]:
    """Every type of problem the API answers, by the last part of its ``type``; all once the views are loaded."""
    kinds = {}
    queue: list[type[exceptions.APIException]] = [exceptions.APIException]
    while queue:
        kind = queue.pop()
        queue += kind.__subclasses__()
        ours = kind.__module__.partition(".")[0] in ("config", "shop", "sagas") and not kind.__name__.startswith("_")
        if ours or kind in STANDARD:
            kinds[slug_of(kind)] = kind
    return dict(sorted(kinds.items()))


def problems_page(request: HttpRequest, slug: str = "") -> HttpResponse:
    """What a problem's ``type`` leads to: what it means and what to do about it."""
    kinds = problem_kinds()
    if slug and slug not in kinds:
        raise Http404
    shown = [
        {"slug": each, "title": title_of(kind), "status": kind.status_code, "text": _explanation(kind)}
        for each, kind in kinds.items()
        if slug in ("", each)
    ]
    return render(request, "problems.html", {"problems": shown})


def _explanation(kind: type[exceptions.APIException]) -> str:
    return str(kind.default_detail) if kind in STANDARD else cleandoc(kind.__doc__ or "")
