"""Chaos: the real processes under load, while a seeded nemesis breaks them; then everything is checked.

``python -m tests.chaos --seconds 60 --seed 1``, or ``make chaos SECONDS=60 SEED=1``. See docs/reliability.md.
"""
