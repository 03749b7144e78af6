"""People look for themselves: blind duels of an evaluation's answers, their labels, and where the labels go.

Shared by the judging task, the router's page, the command line and the opening of a turn.
"""
