"""What an error may say when it is stored."""

from time import process_time

import pytest

from sagas.redaction import MAX_MESSAGE, MAX_TRACEBACK, message_of, redact, redact_values, traceback_of


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Invalid API Key provided: sk_test_4eC39HqLyjWDarjtT1zdp7dc", "Invalid API Key provided: [secret]"),
        ("no such payment method: pm_card_visa", "no such payment method: [secret]"),
        ("signature of whsec_5fJ2 does not fit", "signature of [secret] does not fit"),
        ("EZTK_sandbox1234 is not a key", "[secret] is not a key"),
        ("client secret pi_3N8ab_secret_Xy12Zw98Qq", "client secret [secret]"),
        ("Authorization: Bearer abc.def-123", "Authorization: [secret]"),
        ("sent Basic dXNlcjpwYXNz to them", "sent [secret] to them"),
        ("password=hunter2", "password=[secret]"),
        ("{'password': 'hunter 2', 'a': 1}", "{'password': [secret], 'a': 1}"),
        ('{"access_token": "abc def", "a": 1}', '{"access_token": [secret], "a": 1}'),
        ("client_secret=abc&x=1", "client_secret=[secret]&x=1"),
        ("X-Api-Key: abc", "X-Api-Key: [secret]"),
        ("postgres://shop:hunter2@db/shop", "postgres://shop:[secret]@db/shop"),
        ("redis://:hunter2@cache/0", "redis://:[secret]@cache/0"),
        ("card 4242 4242 4242 4242 declined", "card [number] declined"),
        ("card 4242-4242-4242-4242 declined", "card [number] declined"),
        ("378282246310005", "[number]"),
        ("mail to ada.lovelace+shop@mail.example.org failed", "mail to [e-mail] failed"),
    ],
)
def test_a_secret_is_blotted_out(text, shown):
    assert redact(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "SKU-1 is out of stock: 3 wanted, 2 available",
        "order S-7KQ2MX4D9A is cancelled",
        "the bank's answer is not known: read timed out",
        "record_authorization raised KeyError: 'x'",
        "2026-11-21 03:44:48.123456+00:00",
        "HTTP 503 after 10.0 s",
    ],
)
def test_what_is_no_secret_stays_readable(text):
    assert redact(text) == text


def test_what_postgresql_cannot_store_is_taken_out():
    assert redact("a\x00b \udcff") == "ab ?"


def test_a_message_and_a_traceback_have_a_limit():
    started = process_time()

    assert len(message_of("x" * 10_000_000)) == MAX_MESSAGE
    assert len(traceback_of(ValueError("x" * 10_000_000))) == MAX_TRACEBACK
    assert process_time() - started < 1, "what is cut off costs nothing"


@pytest.mark.parametrize("text", ["x", "x.", "x-", "1 ", "a@", "secret", "x_secret_", "://a:"])
def test_no_text_makes_redaction_slow(text):
    started = process_time()

    redact(text * (20_000 // len(text)))

    assert process_time() - started < 1


def test_a_secret_at_the_limit_is_blotted_out_before_the_text_is_cut():
    assert "hunter" not in message_of("x" * (MAX_MESSAGE - 12) + " password=hunter2")


def test_a_traceback_has_code_lines_and_causes_but_no_values_of_variables():
    def charge(card):
        raise ValueError("declined") from KeyError("x")

    with pytest.raises(ValueError, match="declined") as caught:
        charge("a card that nobody may see")

    shown = traceback_of(caught.value)

    assert 'raise ValueError("declined") from KeyError("x")' in shown
    assert "KeyError: 'x'" in shown
    assert "nobody may see" not in shown.replace('charge("a card that nobody may see")', "")


def test_values_are_blotted_out_by_what_they_are_and_by_their_name():
    stored = {
        "access_token": "abc",
        "who": ["ada@example.org", 4242424242424242, 12.5, True, None],
        "intent_id": "pi_1",
    }

    assert redact_values(stored) == {
        "access_token": "[secret]",
        "who": ["[e-mail]", "[number]", 12.5, True, None],
        "intent_id": "pi_1",
    }


@pytest.mark.parametrize("branch", [lambda inner: [inner], lambda inner: {"in": inner}])
def test_values_that_are_nested_deeper_than_people_read_are_cut_with_a_note(branch):
    shallow, deep = "pm_card_visa", "pm_card_visa"
    for _ in range(50):
        shallow = branch(shallow)
    for _ in range(600):
        deep = branch(deep)

    assert "[secret]" in str(redact_values(shallow))
    shown = str(redact_values(deep))
    assert "nested deeper than 50 levels" in shown
    assert "pm_card" not in shown
