"""A transfer between two databases, as a saga. `benchmarks.two_phase_commit` compares it with prepared transactions."""
