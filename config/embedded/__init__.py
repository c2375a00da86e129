"""PostgreSQL and Valkey from wheels, for the demonstration and the tests.

Nothing here runs where DATABASE_URL and REDIS_URL are set.
"""
