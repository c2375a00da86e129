"""Implementations of the carrier port."""
