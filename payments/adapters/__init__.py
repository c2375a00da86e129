"""Implementations of the gateway port."""
