"""What the shop has done again and again: webhooks that were stored and not applied get another try.

The participants do not know who calls them, so they are registered here.
"""

from payments import services as payments
from sagas.periodic import periodic
from sagas.steps import seconds
from shipping import services as shipping

periodic(every=seconds(30))(payments.apply_pending_events)
periodic(every=seconds(30))(shipping.apply_pending_events)
