"""The tiny base model, its data and an adapter on it, as the training tests make them."""

from __future__ import annotations

from tests.training.conftest import base_model, sft_adapter, teaching_data

__all__ = ["base_model", "sft_adapter", "teaching_data"]
