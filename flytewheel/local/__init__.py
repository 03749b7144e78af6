"""The embedded stack: PostgreSQL, an object store and the router, started and stopped as one, on loopback only."""
