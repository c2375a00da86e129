"""What happens to an order after it was accepted: it is cancelled, sent elsewhere, or delivered and returned.

For a return the carrier brings the parcel, to the shopper and back, and a person of the shop looks at it.
"""

import time
from contextlib import suppress

from tests.chaos.client import Client
from tests.chaos.wishes import Answer, Errand, Wish, is_final
from tests.chaos.world import WEATHER, ChaosFailed

# What is returned is looked at also after the shoppers have left: nobody is kept waiting for their money.
LATEST_VERDICT = 90.0
OVER = ("cancelled", "returned")


class Errands:
    def __init__(self, client: Client) -> None:
        self.client = client
        self._staff: dict[str, str] = {}

    def log_in(self) -> None:
        """As the demonstration's admin, who may handle returns."""
        answer = self.client.post("auth/login/", {"username": "admin", "password": "admin"}, {})
        if answer.status != 200:
            raise ChaosFailed(f"the staff cannot log in: {answer.status} {answer.body}")
        self._staff = {"Authorization": f"Token {answer.body['token']}"}

    def carry_out(self, wish: Wish, errand: Errand) -> None:
        """Ask until there is an answer that no repetition changes."""
        if self.client.leave.wait(errand.after):
            return
        if errand.what == "return":
            self._return(wish, errand)
        else:
            self._ask(wish, errand)

    def _ask(self, wish: Wish, errand: Errand) -> None:
        path, body = {
            "cancel": ("cancel/", {"reason": "changed my mind"}),
            "readdress": ("address/", errand.address),
            "return": ("returns/", {"reason": "too heavy"}),
        }[errand.what]

        def send() -> Answer:
            errand.answers.append(answer := self.client.post(_path(wish, path), body, _token(wish)))
            return answer

        self.client.until(send, lambda answer: answer.status == 202 or is_final(answer))

    # --- a return -------------------------------------------------------------------------------------

    def _return(self, wish: Wish, errand: Errand) -> None:
        if self._reaches(wish, "confirmed") and self._moves(wish, "delivered") and self._reaches(wish, "delivered"):
            self._ask(wish, errand)
        if errand.accepted:
            self._inspect(wish, errand)

    def _reaches(self, wish: Wish, status: str) -> bool:
        """Look at the order now and then until it is there, or over."""
        seen: list[str] = []

        def look() -> Answer:
            answer = self.client.ask("GET", _path(wish), None, _token(wish))
            seen.append(answer.body.get("status", ""))
            return answer

        self.client.until(look, lambda _: seen[-1] in (status, *OVER), patience=600)
        return seen[-1] == status

    def _moves(self, wish: Wish, status: str) -> bool:
        """Let the carrier move the parcel, and tell the shop of it by its webhook."""
        with suppress(*WEATHER):
            self.client.world.control("carrier", move=_number(wish), status=status)
            return True
        return not self.client.leave.wait(1) and self._moves(wish, status)

    def _inspect(self, wish: Wish, errand: Errand) -> None:
        """The parcel comes back and a person looks at it; who of the two is told first is not said."""
        line = wish.body["lines"][0]
        broken = [{"sku": line["sku"], "quantity": 1}] if errand.breaks_one else []
        body = {"accepted": errand.accepted_goods, "reason": "it was used", "broken": broken}
        give_up_at = None
        came_back = False
        while not (came_back and errand.is_inspected):
            if self.client.leave.is_set():
                give_up_at = give_up_at or time.monotonic() + LATEST_VERDICT
                if time.monotonic() > give_up_at:
                    return
            with suppress(*WEATHER):
                if not came_back:
                    self.client.world.control("carrier", move=_number(wish), status="return_to_sender")
                    came_back = True
            if not errand.is_inspected:
                path = _path(wish, "returns/inspection/")
                errand.verdicts.append(self.client.post(path, body, self._staff))
            time.sleep(0.5)


def _number(wish: Wish) -> str:
    return str(wish.accepted[0].body["number"])


def _path(wish: Wish, path: str = "") -> str:
    return f"orders/{_number(wish)}/{path}"


def _token(wish: Wish) -> dict[str, str]:
    return {"X-Order-Token": wish.accepted[0].body["access_token"]}
