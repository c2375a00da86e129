"""Restate: a service whose handler runs each step in `ctx.run`, as its guide for sagas does. Served by granian."""

from typing import Any

import restate

from benchmarks.peers.commits import commit_async
from benchmarks.statements import END, PAY, RESERVE, SHIP

orders = restate.Service("Orders")


@orders.handler()
async def run(ctx: restate.Context, order: list[Any]) -> None:
    number, product, quantity, cents, declined = order

    async def step(name: str, statement: str, *parameters: object) -> None:
        async def act() -> None:
            await commit_async(statement, *parameters)

        await ctx.run_typed(name, act)

    async def pay() -> None:
        if declined:
            raise restate.TerminalError("declined")
        await commit_async(PAY, number, cents)

    undo = [lambda: step("cancel order", END, "CANCELLED", number)]
    try:
        undo.append(lambda: step("release stock", RESERVE, -quantity, product))
        await step("reserve stock", RESERVE, quantity, product)
        await ctx.run_typed("record payment", pay)
        await step("record shipment", SHIP, number, f"label of {number}")
        await step("confirm order", END, "CONFIRMED", number)
    except restate.TerminalError:
        for compensate in reversed(undo):
            await compensate()


app = restate.app([orders])
