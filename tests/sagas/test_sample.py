import random

from sagas.testing.sample import drawn

CASES = [(row, column) for row in range(30) for column in "abcde"]


def test_a_share_of_one_is_all_of_them() -> None:
    assert drawn(CASES, 1.0, random.Random(1), lambda c: c[1]) == CASES


def test_a_small_share_still_has_one_of_each_of_the_first_kind() -> None:
    found = drawn(CASES, 0.0, random.Random(1), lambda c: c[1], lambda c: c[0])

    assert sorted(column for _, column in found) == list("abcde")


def test_a_share_has_as_many_of_the_next_kind_as_fit() -> None:
    found = drawn(CASES, 30 / 150, random.Random(1), lambda c: c[1], lambda c: c[0])

    assert len(found) == 30
    assert {column for _, column in found} == set("abcde")
    assert len({row for row, _ in found}) >= 28


def test_a_seed_draws_the_same_in_the_order_of_the_cases_and_another_one_does_not() -> None:
    first, again, other = (drawn(CASES, 0.3, random.Random(seed), lambda c: c[1]) for seed in (1, 1, 2))

    assert first == again == sorted(first)
    assert first != other
