"""How the exported file's speed is measured: the recipe's section `evaluation.speed`."""

from __future__ import annotations

from pydantic import Field

from flytewheel.strict import AtLeastOne, Section


class SpeedSpec(Section):
    """Candidate's and champion's GGUF answer the same held-out prompts through llama.cpp's server, in turn."""

    enable: bool = True
    prompts: AtLeastOne = Field(default=8, description="each is asked twice of both; fewer than 6 prove nothing")
    tokens: AtLeastOne = Field(default=32, description="of each answer, end token or not, so that answers compare")
