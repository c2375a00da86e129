import json
from argparse import ArgumentTypeError
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from time import monotonic, sleep
from typing import Any
from uuid import UUID, uuid4

from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError
from django.db.models import Q
from django.template.defaultfilters import pluralize

from sagas import bulk, lifecycle, operations, outlook, preview
from sagas.admin.offers import WORDINGS
from sagas.admin.selectors import sagas_that_failed_with
from sagas.api.documents import saga_document
from sagas.api.serializers import OperationSerializer, SagaSerializer
from sagas.exceptions import OperationRefused, StaleVersion
from sagas.management.terminal import Progress, actor_named, as_json, line_of, saga_meant, why_no_answer
from sagas.models import SagaInstance
from sagas.operator_models import BulkItem, BulkRetry
from sagas.redaction import redact
from sagas.selectors import waiting_words, with_steps
from sagas.states import LIVE, SagaStatus

# Exit codes besides 0 and argparse's 2.
REFUSED, DENIED, STALE = 1, 3, 4

# What an operation is told besides who and why.
WORDS = ("step", "lock", "at", "payload", "receipt")


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ArgumentTypeError(f"not JSON: {error}") from error


def _moment(text: str) -> datetime | None:
    if text == "never":
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise ArgumentTypeError("a time as 2030-01-31T12:00, in UTC, or never") from error
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _between(lowest: int, highest: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if text.isascii() and text.isdigit() and lowest <= int(text) <= highest:
            return int(text)
        raise ArgumentTypeError(f"a whole number from {lowest} to {highest}")

    return number


class Command(BaseCommand):
    help = "Look after sagas from a terminal: what the admin does, by the same operations."

    def add_arguments(self, parser: CommandParser) -> None:
        commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
        self._add_looking(commands)
        for name in operations.PERMISSIONS:
            one = commands.add_parser(name, help=WORDINGS[name].effect)
            _about_a_saga(one)
            one.add_argument("--actor", required=True, help="in whose name; permissions and the audit are theirs")
            one.add_argument("--reason", required=True, help="why; kept with the saga")
            one.add_argument("--seen", type=int, help="refuse unless the saga is still at this version of `show`")
            one.add_argument("--wait", type=float, default=8.0, help="seconds to wait for what comes of it")
            if WORDINGS[name].about:
                one.add_argument(f"--{WORDINGS[name].about}", required=True)
            if name == "reschedule":
                one.add_argument("--at", type=_moment, required=True, help="2030-01-31T12:00 in UTC, or never")
            if name == "edit":
                one.add_argument("--payload", type=_json, required=True, help="all of the data, as JSON")
            if name in ("resolve", "skip"):
                one.add_argument("--receipt", type=_json, help="what the step would have returned, as JSON")
            if name == "resolve":
                one.add_argument("--happened", choices=["yes", "no"], required=True)
        self._add_bulk(commands)
        self._add_upkeep(commands)

    def _add_looking(self, commands: Any) -> None:
        listing = commands.add_parser("list", help="the newest sagas")
        listing.add_argument("--status", choices=["LIVE", *SagaStatus])
        listing.add_argument("--definition")
        listing.add_argument("--key", help="the business key: an order number, ...")
        listing.add_argument("--person", action="store_true", help="only what needs a person")
        listing.add_argument("--limit", type=_between(1, 1_000), default=50, metavar="1..1000")
        listing.add_argument("--json", action="store_true")
        show = commands.add_parser("show", help="one saga: where it is, why it waits, what can be done")
        _about_a_saga(show)
        show.add_argument("--actor", help="whose options to show")
        look_ahead = commands.add_parser(
            "preview", help="what turning back, or a retry, would come to; changes nothing"
        )
        look_ahead.add_argument("operation", choices=["compensate", "retry"])
        _about_a_saga(look_ahead)
        ask = commands.add_parser("ask", help="what the other side says of a step's key; changes nothing")
        _about_a_saga(ask)
        ask.add_argument("--step", required=True)

    def _add_bulk(self, commands: Any) -> None:
        together = commands.add_parser("bulk", help="retry many: 1, then 5, 25, the rest; stops on the same failure")
        together.add_argument("--actor", required=True)
        together.add_argument("--reason", required=True)
        together.add_argument("--fingerprint", help="what failed in this way")
        together.add_argument("--definition")
        together.add_argument("--status", choices=[*sorted(LIVE)])
        together.add_argument("--wait", type=float, default=600.0, help="seconds to follow it; the sweepers go on")
        together.add_argument("--json", action="store_true")

    def _add_upkeep(self, commands: Any) -> None:
        check = commands.add_parser("check_inflight", help="would this code finish or undo every live saga?")
        check.add_argument("--json", action="store_true", help="print the groups as JSON")
        purge = commands.add_parser("purge", help="delete sagas that ended some time ago")
        purge.add_argument("--days", type=_between(0, 36_500), help="how long ago; the setting by default")
        purge.add_argument("--touched-days", type=_between(0, 36_500), help="the same for those that a person touched")
        purge.add_argument("--batch", type=_between(1, 10_000), default=500, help="how many go in one commit")

    def handle(self, *args: Any, command: str, **options: Any) -> None:
        act = getattr(self, f"_{command}", None)
        try:
            if act is not None:
                act(**options)
            else:
                self._operate(command, **options)
        except PermissionDenied as error:
            raise CommandError(str(error), returncode=DENIED) from error
        except StaleVersion as error:
            raise CommandError(f"{error} It is at version {error.version}.", returncode=STALE) from error
        except (OperationRefused, ValueError) as error:
            raise CommandError(str(error), returncode=REFUSED) from error
        except OperationalError as error:
            raise CommandError(why_no_answer(error), returncode=REFUSED) from error

    # --- looking ------------------------------------------------------------------------------------

    def _list(
        self, status: str, definition: str, key: str, person: bool, limit: int, json: bool, **options: Any
    ) -> None:
        found = with_steps().order_by("-id")
        if status:
            found = found.filter(status__in=sorted(LIVE) if status == "LIVE" else [status])
        if definition:
            found = found.filter(definition=definition)
        if key:
            found = found.filter(business_key=key)
        if person:
            found = found.filter(~Q(attention="") | Q(status=SagaStatus.SUSPENDED))
        sagas = list(found[:limit])
        if json:
            self.stdout.write(as_json(SagaSerializer(sagas, many=True).data))
            return
        for saga in sagas:
            self.stdout.write(line_of(saga))
        if not sagas:
            self.stdout.write("No saga.")

    def _show(self, saga: str, definition: str, json: bool, actor: str, **options: Any) -> None:
        meant = saga_meant(saga, definition)
        reader = actor_named(actor) if actor else None
        document = saga_document(meant.pk, reader or AnonymousUser())
        if json:
            self.stdout.write(as_json(document))
            return
        self.stdout.write(f"{meant} is {meant.status} at version {meant.version}: {redact(waiting_words(meant))}")
        if meant.attention:
            self.stdout.write(f"! {redact(meant.attention)}")
        for step in document["steps"]:
            error = f"  {step['error']}" if step["error"] else ""
            self.stdout.write(f"  {step['name']:<24} {step['action']:<10} {step['compensation']:<10}{error}")
        for lock in document["locks"]:
            self.stdout.write(f"holds {lock['resource_type']} {lock['resource_id']} since {lock['taken_at']}")
        for option in document["options"] if reader else ():
            if not option["why_not"]:
                self.stdout.write(f"can: {option['name']} {' '.join(option['targets'])}".rstrip())

    def _preview(self, operation: str, saga: str, definition: str, json: bool, **options: Any) -> None:
        meant = saga_meant(saga, definition)
        found: Any = preview.way_back(meant.pk) if operation == "compensate" else outlook.outlook(meant.pk)
        if json:
            self.stdout.write(as_json([asdict(s) for s in found] if isinstance(found, list) else asdict(found)))
        elif operation == "compensate":
            self._write_way_back(found)
        else:
            self._write_outlook(found)

    def _write_way_back(self, found: preview.WayBack) -> None:
        for undone in found.undone:
            call = f", calls {undone.call.service or 'the outside'} with key {undone.call.key}" if undone.call else ""
            self.stdout.write(f"{undone.compensation} for {undone.step}{call}")
            for change in undone.changes:
                for it in change.differences:
                    self.stdout.write(f"  {change.table} {change.row}, {it.column}: {it.before} -> {it.after}")
        self.stdout.write(found.stopped or f"Then it is {found.ends_as}.")

    def _write_outlook(self, steps: list[outlook.StepOutlook]) -> None:
        for step in steps:
            self.stdout.write(f"{step.step} {step.side}: {step.why_not or 'nothing keeps it from being tried now'}")
            self.stdout.write(f"  last: {step.last_outcome} {step.last_message}")
            times, count = step.alike_today, step.sagas_today
            self.stdout.write(f"  failed alike today: {times} time{pluralize(times)} in {count} saga{pluralize(count)}")

    def _ask(self, saga: str, definition: str, step: str, json: bool, **options: Any) -> None:
        answer = outlook.ask(saga_meant(saga, definition).pk, step)
        self.stdout.write(as_json(asdict(answer)) if json else f"{answer.words} (key {answer.key})")

    # --- acting -------------------------------------------------------------------------------------

    def _operate(self, name: str, saga: str, definition: str, json: bool, wait: float, **options: Any) -> None:
        actor, meant = actor_named(options["actor"]), saga_meant(saga, definition)
        request = operations.Request(uuid4(), actor, options["reason"], options["seen"] or meant.version)
        words: dict[str, Any] = {name: options[name] for name in WORDS if name in options}
        if "happened" in options:
            words["happened"] = options["happened"] == "yes"
        done = getattr(operations, name)(meant.pk, request, **words)
        outcome = operations.follow(done, seconds=wait)
        if json:
            now = SagaInstance.objects.prefetch_related("steps").get(pk=meant.pk)
            said = {"operation": OperationSerializer(done).data, "outcome": outcome, "saga": SagaSerializer(now).data}
            self.stdout.write(as_json(said))
        else:
            self.stdout.write(f"{name}: {outcome}")

    def _bulk(self, actor: str, reason: str, wait: float, json: bool, **options: Any) -> None:
        """Exit code 1 when it stopped, so that a script stops as well."""
        user = actor_named(actor)
        ids, chosen = _chosen(options["fingerprint"], options["definition"], options["status"])
        begun = bulk.start(uuid4(), user, reason, ids, chosen=chosen)
        bar, until = Progress(self.stderr, quiet=json), monotonic() + wait
        while begun.ended_at is None and monotonic() < until:
            bulk.tick(begun.pk)
            begun.refresh_from_db()
            stand = bulk.counts(begun)
            total = sum(stand.values())
            bar.show(total - stand["QUEUED"] - stand["RUNNING"], total, f"wave {begun.wave}")
            sleep(0.2)
        bar.end()
        stand = bulk.counts(begun)
        said = {"id": begun.pk, "state": begun.state, "why": begun.why, "sagas": stand}
        words = ", ".join(f"{count} {BulkItem.State(state).label}" for state, count in stand.items())
        self.stdout.write(as_json(said) if json else f"{begun.get_state_display()}: {words}")
        if begun.state == BulkRetry.State.STOPPED:
            raise CommandError(begun.why, returncode=REFUSED)

    # --- upkeep -------------------------------------------------------------------------------------

    def _check_inflight(self, json: bool, **options: Any) -> None:
        """Exit code 1 if any live saga would stop: run it with the new code before a deploy goes on."""
        groups = lifecycle.inflight()
        if json:
            self.stdout.write(as_json([asdict(group) for group in groups]))
        else:
            for group in groups:
                verdict = "goes on" if group.can_go_on else "STOPS: no plan here starts with these steps"
                at = group.steps[-1] if group.steps else "its start"
                what = f"{group.definition} version {group.version}, {group.count} at {at} (such as {group.example})"
                self.stdout.write(f"{what}: {verdict}")
            if not groups:
                self.stdout.write("No saga is live.")
        stopped = sum(group.count for group in groups if not group.can_go_on)
        if stopped:
            what = f"{stopped} live saga{pluralize(stopped)}"
            raise CommandError(f"{what} would be suspended (DEFINITION_MISMATCH) under this code.")

    def _purge(self, days: int | None, touched_days: int | None, batch: int, **options: Any) -> None:
        bar = Progress(self.stderr, quiet=False)
        purged = lifecycle.purge(
            after=None if days is None else timedelta(days=days),
            touched_after=None if touched_days is None else timedelta(days=touched_days),
            batch=batch,
            tell=lambda count: bar.show(count, None, "sagas are gone"),
        )
        bar.end()
        self.stdout.write(f"{purged} ended saga{pluralize(purged, ' is,s are')} gone.")


def _chosen(fingerprint: str | None, definition: str | None, status: str | None) -> tuple[list[UUID], str]:
    """The sagas that are meant, the oldest first, and what was chosen in words."""
    if not (fingerprint or definition or status):
        raise ValueError("Say which sagas: --fingerprint, --definition or --status.")
    found = SagaInstance.objects.filter(status__in=[status] if status else sorted(LIVE))
    if definition:
        found = found.filter(definition=definition)
    if fingerprint:
        found = found.filter(pk__in=sagas_that_failed_with(fingerprint))
    said = {"fingerprint": fingerprint, "definition": definition, "status": status}
    words = ", ".join(f"{name} {value}" for name, value in said.items() if value)
    chosen = list(found.order_by("id").values_list("pk", flat=True)[: bulk.MOST])
    if not chosen:
        raise ValueError(f"There is no live saga with {words}.")
    return chosen, f"all with {words}"


def _about_a_saga(parser: CommandParser) -> None:
    parser.add_argument("saga", help="its id, or its business key")
    parser.add_argument("--definition", help="where several sagas have this key")
    parser.add_argument("--json", action="store_true")
