"""A worker: the hot path in a process of its own, by the keeper's table. `python -m router.worker` is only ever started
by a keeper.
"""
