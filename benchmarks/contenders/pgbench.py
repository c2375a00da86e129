"""The same statements from PostgreSQL's own load generator: the limit of the database."""

import os
import subprocess
import tempfile
from pathlib import Path

from benchmarks.work import PRODUCTS, Batch
from config.embedded.postgres import program

CLIENTS = 2

# Each client takes every second number. A declined order never comes to its payment.
SCRIPT = """
\\set number :first + :seen * {clients} + :client_id
\\set seen :seen + 1
\\set product random(1, {products})
\\set cents 1000 + mod(:number, 97)
INSERT INTO bench_order (number, product_id, quantity, cents, status)
    VALUES ('B' || lpad(:number::text, 9, '0'), :product, 1, :cents, 'PLACED');
UPDATE bench_product SET stock = stock - 1 WHERE id = :product;
\\if mod(:number * :percent, 100) < :percent
UPDATE bench_product SET stock = stock + 1 WHERE id = :product;
UPDATE bench_order SET status = 'CANCELLED', ended_at = statement_timestamp()
    WHERE number = 'B' || lpad(:number::text, 9, '0');
\\else
INSERT INTO bench_payment (order_id, cents) VALUES ('B' || lpad(:number::text, 9, '0'), :cents);
INSERT INTO bench_shipment (order_id, label) VALUES ('B' || lpad(:number::text, 9, '0'), 'label of ' || :number);
UPDATE bench_order SET status = 'CONFIRMED', ended_at = statement_timestamp()
    WHERE number = 'B' || lpad(:number::text, 9, '0');
\\endif
"""


class PgBench:
    """It tells neither when a single order started nor, as it ends with each round, what CPU it took."""

    name = "pgbench"

    def prepare(self) -> None:
        with tempfile.NamedTemporaryFile("w", suffix=".sql", delete=False) as file:
            file.write(SCRIPT.format(clients=CLIENTS, products=PRODUCTS))
        self.script = Path(file.name)

    def pids(self) -> list[int]:
        return []

    def run(self, batch: Batch) -> list[float]:
        variables = {"first": batch.first, "percent": batch.percent, "seen": 0}
        subprocess.run(  # noqa: S603
            [
                program("pgbench"),
                "--no-vacuum",
                "--protocol=prepared",
                f"--client={CLIENTS}",
                f"--jobs={CLIENTS}",
                f"--transactions={batch.count // CLIENTS}",
                f"--file={self.script}",
                *(f"--define={name}={value}" for name, value in variables.items()),
                os.environ["DATABASE_URL"],
            ],
            check=True,
            capture_output=True,
        )
        return []

    def clean(self) -> None:
        self.script.unlink()
