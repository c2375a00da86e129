"""Choreography: no saga tells others what to do; each service reacts to events and publishes its own.

An event is a row of the outbox, in the commit that it tells of. What one handler does about it is a saga
of one step: its row is the inbox, and leases, retries, unknown outcomes and operations are the engine's.
"""
