"""What training by a recipe would take, before it is begun: rows, steps, hours, memory, disk, money.

From a probe of 20 real steps on this device, or from arithmetic.
"""
