"""Duels: both arms' answers to one question, shown side by side to somebody who agreed to choose."""

from router.duels.endpoint import DuelEndpoint as DuelEndpoint

__all__ = ["DuelEndpoint"]
