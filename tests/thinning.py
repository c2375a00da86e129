"""How much of a verification is run: all with ``VERIFY=full``, else a share of it, drawn with a seed.

``VERIFY_SEED`` repeats a run. At the end pytest prints what was run, of how much, and the seed. In CI it is always the
same: what goes red there is what was changed, and other cases are for the runs at home.
"""

import os
import random

FULL = os.environ.get("VERIFY") == "full"
IN_CI = os.environ.get("CI", "").lower() in ("1", "true", "yes")
SEED = int(os.environ.get("VERIFY_SEED") or (1 if IN_CI else random.randrange(2**32)))
os.environ["VERIFY_SEED"] = str(SEED)  # the same for all processes of one run


def share_of(share: float) -> float:
    return 1.0 if FULL else share


# One line for each verification.
told: list[str] = []
