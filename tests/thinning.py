"""How much of a verification is run: all with ``VERIFY=full``, else a share of it, drawn with a seed.

``VERIFY_SEED`` repeats a run. At the end pytest prints what was run, of how much, and the seed.
"""

import os
import random

FULL = os.environ.get("VERIFY") == "full"
SEED = int(os.environ.get("VERIFY_SEED") or random.randrange(2**32))


def share_of(share: float) -> float:
    return 1.0 if FULL else share


# One line for each verification.
told: list[str] = []
