"""A small app for the tests with real worker processes: a saga, and an outside world that all of them see."""
