"""The keeper: one process that knows registry and database, holds the loaded versions, and has workers serve by it.

`routing` decides who answers for each name, `changes` what people may change of that, `workers` has the processes that
answer, `lastgood` is what outlives all of them, `run` starts and ends everything in order.
"""
