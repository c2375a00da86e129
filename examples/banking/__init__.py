"""A bank: money moves between two accounts by double entry, and none is ever made or lost."""
