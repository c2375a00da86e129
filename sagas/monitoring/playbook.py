"""What each code means, and what to do, in the words of somebody who was called at night.

One text per code: why a saga is suspended, how an attempt ended, and what an alert is about.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Play:
    """What it means, whether somebody has to come at once, and the steps to take in order."""

    title: str
    meaning: str
    steps: tuple[str, ...]
    urgent: bool = True


def play(code: str) -> Play | None:
    return PLAYBOOK.get(code)


PLAYBOOK = {
    # --- why a saga is suspended, and its attention ------------------------------------------------
    "OUTCOME_UNKNOWN": Play(
        "Nobody knows whether it happened",
        "A call to the outside gave no answer, and asking again has not settled it. The money may have moved, or not. "
        "The saga keeps its locks and does nothing until somebody knows.",
        (
            "Look at the service's own records for the key of the last attempt.",
            "If it is there: Resolve outcome, it happened, with its receipt.",
            "If it is certainly not there and cannot come any more: Resolve outcome, it did not happen.",
            "If the service is down, wait for it: an attempt that is still asked again settles itself.",
        ),
    ),
    "COMPENSATION_FAILED": Play(
        "An effect could not be undone",
        "The saga was going backward, and one of its compensations failed for good. What that step did is still there: "
        "money taken, stock held or a parcel booked for an order that is not going to be.",
        (
            "Read the last attempt of the compensation: its message says what refused.",
            "If the cause is gone: Retry, it goes on undoing where it stopped.",
            "If the effect was undone by hand, or has to stay: Waive, with what is left and why.",
            "Do not release its lock before that: others would see what is half undone.",
        ),
    ),
    "RETRIES_EXHAUSTED": Play(
        "A step failed in a way that nobody foresaw",
        "Its tries are used up, or it takes its worker down each time. Usually a mistake in the code, or data that the "
        "code does not expect.",
        (
            "Read message and traceback of the last attempt; look whether other sagas fail the same way.",
            "If a deploy caused it: deploy the mended code, then Retry.",
            "If it cannot be mended soon and the pivot is not passed: Compensate, and the customer can order again.",
        ),
    ),
    "NO_COMPENSATION": Play(
        "The saga turned back, but one step cannot be undone",
        "The step happened and its plan has no compensation for it, so that a person decides.",
        (
            "Undo by hand what the step did; its receipt says what that was.",
            "Then Waive, with what was done. The rest is undone by itself.",
        ),
    ),
    "CONTRACT_VIOLATION": Play(
        "Something happened that the plan rules out",
        "Past its pivot a saga only goes forward, and a step was refused there; or the database refused what was to be "
        "written.",
        (
            "Read the attention and the last attempt: they say who refused what.",
            "Remove the cause at the service or in the data, then Retry.",
            "If the step may be left out: Skip. If nothing helps: Abandon, and give back by hand what it lists.",
        ),
    ),
    "DEFINITION_MISMATCH": Play(
        "The code that runs does not know this saga's plan",
        "A deploy changed or removed a plan under which sagas were still live, or was taken back after it had begun "
        "some. Nothing is lost; they stand still.",
        (
            "Run manage.py sagas check_inflight: it lists what does not go on.",
            "Deploy code that knows the plan, then Resume.",
        ),
    ),
    "OPERATOR_PAUSE": Play(
        "An operator paused it",
        "It keeps its locks, so that what it is about cannot be changed meanwhile.",
        ("Look under What people did why. Resume when that is over.",),
        urgent=False,
    ),
    "ATTENTION": Play(
        "A person should look at it",
        "The saga goes on or has ended, but something about it wants to be known: it is past its deadline, keeps "
        "failing where it may not stop, was abandoned with effects left, or money came when it was over.",
        (
            "Read the attention on its page.",
            "While it goes on, look at the last attempts: is the service that it needs down?",
            "When it has ended and nothing is left to do: Mark as reviewed.",
        ),
        urgent=False,
    ),
    # --- how an attempt ended -----------------------------------------------------------------------
    "REFUSED": Play(
        "A business no",
        "The other side answered and did nothing: a card declined, a product sold out. Before the pivot the saga turns "
        "back by itself.",
        ("Nothing, unless the saga is suspended.",),
        urgent=False,
    ),
    "TRANSIENT": Play(
        "Nothing happened, and it is tried again",
        "The service was not reached, or promised to have done nothing.",
        ("Look at the circuits whether the service is down. Retry now ends the pause.",),
        urgent=False,
    ),
    "UNKNOWN": Play(
        "No answer came back",
        "It may have happened. The saga asks with the same key before it goes on.",
        ("Wait: it settles itself, or is suspended as OUTCOME_UNKNOWN.",),
        urgent=False,
    ),
    "BUG": Play(
        "An error that no plan foresees",
        "A local step was rolled back; of a remote one nobody knows whether it happened.",
        ("Read the traceback, mend the code, deploy it, Retry.",),
    ),
    "LEASE_OVER": Play(
        "The worker did not come back in time",
        "It was killed, frozen or cut off in the middle of a call. Whether that happened is found out by the next one.",
        ("Look whether workers are killed for want of memory when it happens often.",),
        urgent=False,
    ),
    # --- what else there are alerts about -----------------------------------------------------------
    "LOCK_TOO_OLD": Play(
        "Something has been locked for long",
        "A saga holds it and has not ended, so nobody else can change it. Age alone never releases a lock: that would "
        "publish what is half done.",
        (
            "Open the saga that holds it: its page says why it does not move.",
            "Make the saga go on or turn back; the lock goes with its end.",
            "Only if that is impossible: pause it, find out what it has done, and release the lock.",
        ),
        urgent=False,
    ),
    "AUDIT_VIOLATION": Play(
        "A rule that always holds is broken",
        "Stock, money or the books of a saga disagree: a mistake in the code, a write past the engine, or a database "
        "restored from a backup. Waiting does not mend it.",
        (
            "Open the auditor's last result under Periodic jobs: each violation names what was found and expected.",
            "Find out what wrote last to the rows it names, before anything is mended.",
            "After a restore run manage.py reconcile_payments as well.",
        ),
    ),
    "JOB_FAILED": Play(
        "A periodic job fails",
        "What it looks after is not looked after: an audit that fails finds nothing, a purge that fails lets tables "
        "grow.",
        ("Read its last error under Periodic jobs. It runs again in its next period.",),
        urgent=False,
    ),
    "SWEEPER_SILENT": Play(
        "No sweeper runs",
        "Sagas that pause are not woken, time limits do not fire, nothing is audited and no other alert is found.",
        ("Start one: manage.py saga_sweeper.", "Look in its log what ended it."),
    ),
    "WORKERS_SILENT": Play(
        "Due sagas are not taken up",
        "Orders are accepted and nothing happens with them. Nothing is lost: they go on when workers do.",
        (
            "Look whether workers run (manage.py saga_worker), and what their log says.",
            "If they run and are busy: more is due than they can do; start more of them.",
            "If one saga is due and all others move: open it, its step may be killing its worker.",
        ),
    ),
}
