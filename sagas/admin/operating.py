"""The page that asks before a person acts on a saga, and the act itself.

GET shows and changes nothing. POST acts, waits for what really comes of it, and leads back to the
saga. `operations` checks, does and writes down; it opens the transaction itself, so nothing here does.
"""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse

from sagas import operations, outlook
from sagas.admin.forms import OperationForm, form_for, initial_for, receipt_fields
from sagas.admin.offers import WORDINGS, Offer
from sagas.admin.page import SagaPage, event_rows, page_of
from sagas.admin.plan_table import left_behind
from sagas.admin.preview import foreseen
from sagas.admin.selectors import events_since, saga_for_page
from sagas.admin.words import pretty_json
from sagas.exceptions import ActionIdReused, OperationRefused, StaleVersion, UnknownSaga
from sagas.models import Operation

# How long a page waits for what comes of an operation before it says what it knows.
FOLLOW_SECONDS = 8.0

BUSY = "A worker is writing to this saga at this moment. Nothing was changed; press once more."
STALE = "The saga moved on while you were reading. Nothing was changed. Look at where it is now before you act."
TAKEN = "This page was used already for something else. Nothing was changed; press once more."


def operate(request: HttpRequest, site: AdminSite, saga_id: UUID, name: str) -> HttpResponse:
    """One operation on one saga. Raises `PermissionDenied` for whoever may not do it, whatever the state."""
    if request.method == "POST":
        operations.require(request.user, name, saga_id, request.POST.get(WORDINGS[name].about, ""))  # type: ignore[arg-type]
    elif not request.user.has_perm(operations.PERMISSIONS[name]):
        raise PermissionDenied(f"You may not {name} sagas.")
    page = _page(request, saga_id)
    if request.method == "POST":
        return _ask_outside(request, site, page, name) if "ask" in request.POST else _act(request, site, page, name)
    target = _target(request.GET.get(WORDINGS[name].about, ""), _offer(page, name))
    return _ask(request, site, page, name, form_for(name, page, target), target)


def _act(request: HttpRequest, site: AdminSite, page: SagaPage, name: str) -> HttpResponse:
    target = _typed_target(request, name)
    form = form_for(name, page, target, request.POST)
    if not form.is_valid():
        return _ask(request, site, page, name, form, target, status=400)
    try:
        operation = _do(request, page, name, form.cleaned_data)
    except UnknownSaga as error:
        raise Http404 from error
    except StaleVersion:
        return _ask_again(request, site, page, name, target, STALE)
    except ActionIdReused:
        return _ask_again(request, site, page, name, target, TAKEN)
    except OperationRefused as error:
        return _ask_again(request, site, page, name, target, str(error))
    except OperationalError:
        # lock_timeout: the row is held for the length of one local step.
        return _ask_again(request, site, page, name, target, BUSY)
    _tell(request, operation)
    return redirect("admin:sagas_sagainstance_change", page.saga.pk)


def _ask_outside(request: HttpRequest, site: AdminSite, page: SagaPage, name: str) -> HttpResponse:
    """What the other side says, on the page with what was typed. Nothing is done to the saga."""
    target, step = _typed_target(request, name), request.POST["ask"]
    form = form_for(name, page, target)
    form.initial = {**form.initial, **{name: said for name, said in request.POST.items() if name in form.fields}}
    try:
        answer = outlook.ask(page.saga.pk, step)
    except OperationRefused as error:
        return _ask(request, site, page, name, form, target, {"refusal": str(error)})
    if answer.receipt is not None and "receipt" in form.fields:
        form.initial["receipt"] = answer.receipt
    shown = {"asked": step, "answer": answer, "receipt_text": pretty_json(answer.receipt)}
    return _ask(request, site, page, name, form, target, shown)


def _do(request: HttpRequest, page: SagaPage, name: str, said: dict[str, Any]) -> Operation:
    asked = operations.Request(said["operation"], request.user, said["reason"], said["version"])  # type: ignore[arg-type]
    words = {word: said[word] for word in ("step", "lock", "at", "happened", "receipt", "payload") if word in said}
    if name == "resolve" and not said["happened"]:
        words["receipt"] = None
    done: Operation = getattr(operations, name)(page.saga.pk, asked, **words)
    return done


def _tell(request: HttpRequest, operation: Operation) -> None:
    """Say what really came of it; how good that is shows in the message's colour and in its words."""
    came = operations.follow(operation, seconds=FOLLOW_SECONDS)
    operation.saga.refresh_from_db()
    bad = operation.saga.status == "SUSPENDED" and operation.name != "pause"
    done = operation.saga.ended_at is not None or operation.name == "pause"
    level = messages.WARNING if bad else messages.SUCCESS if done else messages.INFO
    messages.add_message(request, level, f"{operation.name.capitalize()}: {came}")


# --- the page that asks ---------------------------------------------------------------------------


def _ask_again(
    request: HttpRequest, site: AdminSite, page: SagaPage, name: str, target: str, refusal: str
) -> HttpResponse:
    """Nothing was done: show why, what moved meanwhile, and the fresh page with what was typed."""
    fresh = _page(request, page.saga.pk)
    said = request.POST.copy()
    seen = said.get("seen", "")
    moved = event_rows(events_since(page.saga.pk, int(seen) if seen.isdecimal() else 0))
    # A page that was used up gets an id of its own; otherwise a second click stays the same click.
    initial = initial_for(fresh)
    operation = initial["operation"] if refusal is TAKEN else said.get("operation", "")
    for field, value in {**initial, "operation": operation}.items():
        said[field] = str(value)
    context = {"refusal": refusal, "moved": moved}
    return _ask(request, site, fresh, name, form_for(name, fresh, target, said), target, context, status=409)


def _ask(
    request: HttpRequest,
    site: AdminSite,
    page: SagaPage,
    name: str,
    form: OperationForm,
    target: str,
    more: dict[str, Any] | None = None,
    status: int = 200,
) -> HttpResponse:
    offer = _offer(page, name)
    context = {
        **site.each_context(request),
        **(foreseen(page.saga, name, target, request.user) if offer.open else {}),
        "title": f"{offer.button}: {page.saga}",
        "opts": page.saga._meta,
        "page": page,
        "offer": offer,
        "form": form,
        "target": target,
        "receipt_fields": receipt_fields(page, target) if "receipt" in form.fields else (),
        "left_behind": left_behind(page.saga) if name == "abandon" else (),
        **(more or {}),
    }
    return TemplateResponse(request, "admin/sagas/sagainstance/operate.html", context, status=status)


def _page(request: HttpRequest, saga_id: UUID) -> SagaPage:
    saga = saga_for_page(saga_id)
    if saga is None:
        raise Http404
    return page_of(saga, request.user)


def _offer(page: SagaPage, name: str) -> Offer:
    return next(offer for offer in page.offers if offer.name == name)


def _typed_target(request: HttpRequest, name: str) -> str:
    """The step or lock that a form names, as it can be looked for; the form itself refuses a NUL."""
    return request.POST.get(WORDINGS[name].about, "").replace("\0", "")


def _target(asked: str, offer: Offer) -> str:
    """The step or lock to act on: the one asked for, or the only one there is; empty while it has to be chosen."""
    if asked in offer.targets:
        return asked
    return offer.targets[0] if len(offer.targets) == 1 else ""
