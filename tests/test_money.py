import pytest

from money import Money


@pytest.mark.parametrize(
    ("currency", "words"),
    [
        ("EUR", "2500.00 EUR"),
        ("JPY", "250000 JPY"),
        ("VND", "250000 VND"),
        ("CLP", "250000 CLP"),
        ("XOF", "250000 XOF"),
        ("KWD", "250.000 KWD"),
        ("JOD", "250.000 JOD"),
        ("OMR", "250.000 OMR"),
        ("ISK", "2500.00 ISK"),
    ],
)
def test_an_amount_is_shown_as_the_bank_will_charge_it(currency: str, words: str) -> None:
    assert str(Money(250_000, currency)) == words
