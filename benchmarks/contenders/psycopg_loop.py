"""The same statements and commits without Django: the limit of the language."""

import os
import time

import psycopg

from benchmarks.contenders.loop import Loop
from benchmarks.crew import serve
from benchmarks.statements import END, PAY, PLACE, RESERVE, SHIP


class PsycopgLoop(Loop):
    name = "psycopg loop"
    module = __name__


def main() -> None:
    connection = psycopg.connect(os.environ["DATABASE_URL"])

    def commit(statement: str, *parameters: object) -> None:
        connection.execute(statement.encode(), parameters)
        connection.commit()

    def do(number: str, product: int, quantity: int, cents: int, declined: bool) -> float:
        commit(PLACE, number, product, quantity, cents)
        started = time.time()
        commit(RESERVE, quantity, product)
        if declined:
            commit(RESERVE, -quantity, product)
            commit(END, "CANCELLED", number)
        else:
            commit(PAY, number, cents)
            commit(SHIP, number, f"label of {number}")
            commit(END, "CONFIRMED", number)
        return started

    serve(do)


if __name__ == "__main__":
    main()
