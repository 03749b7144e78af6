"""The order of rows, drawn anew for every epoch from the seed and the epoch's number alone.

transformers' samplers draw from the process's random state, as it is when the epoch begins. A process that goes on in
the middle of a later epoch has another state there (the saved one is put back only after the order was drawn), so it
trained on another order than the one that was killed: measured with transformers 5.23, every resumed SFT and DPO from
the second epoch on ended in another adapter. Nothing here is remembered, so nothing has to be restored: a resumed
trainer draws the same order and skips what was trained on.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any


def order_by_epoch(trainer: Any, seed: int) -> None:
    """Makes `trainer` draw the order of an epoch from `seed` and the epoch's number.

    Samplers without a random order, and those that are seeded for themselves, are left as they are. accelerate would
    seed the plain random one as well; by this way it does not depend on how batches are skipped there.
    """
    from torch.utils.data import RandomSampler
    from transformers.trainer_pt_utils import LengthGroupedSampler

    drawn_at_random = (LengthGroupedSampler, RandomSampler)
    draw_sampler = trainer._get_train_sampler

    def get_train_sampler(*args: Any, **options: Any) -> Any:
        sampler = draw_sampler(*args, **options)
        return _seed_epochs(sampler, trainer, seed) if isinstance(sampler, drawn_at_random) else sampler

    trainer._get_train_sampler = get_train_sampler


def _seed_epochs(sampler: Any, trainer: Any, seed: int) -> Any:
    from torch import Generator
    from torch.utils.data import Sampler

    class Ordered(Sampler):  # type: ignore[type-arg,misc,unused-ignore]
        """A sampler that is seeded at the beginning of each epoch."""

        def __iter__(self) -> Iterator[int]:
            # At its beginning an epoch's number is exact, and in its middle the whole part of `epoch`.
            epoch = int(trainer.state.epoch or 0)
            sampler.generator = Generator().manual_seed(random.Random(f"{seed}:{epoch}").getrandbits(63))
            return iter(sampler)

        def __len__(self) -> int:
            return len(sampler)

    return Ordered()
