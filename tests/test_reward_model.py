"""Reward models: scored as transformers' own classifier would, beside other adapters or alone; refused when they do not
fit.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flytewheel.errors import BaseModelError
from flytewheel.models import load_adapted, load_tokenizer
from flytewheel.progress import quiet_libraries
from flytewheel.recipe import BaseModelSpec
from flytewheel.records import Message
from flytewheel.reward_model import check_reward_model, join_reward_model, load_reward_model, render_answer
from flytewheel.training.reward import train_reward
from flytewheel.training.sft import train_sft
from flytewheel.training.workplace import Workplace
from tests.tiny_model import build_tiny_model
from tests.training.teaching import (
    DISLIKED,
    LIKED,
    ask,
    base_spec,
    reward_spec,
    rlhf_spec,
    training_spec,
    write_teaching_data,
)

PROMPTS = [ask(7), ask(1234567), ask(8)]
ANSWERS = [LIKED, DISLIKED, "restart restart now, then look at the dashboard"]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with quiet_libraries():
        yield


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseModelSpec:
    return base_spec(build_tiny_model(tmp_path_factory.mktemp("base"), spread=0.15))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_teaching_data(tmp_path_factory.mktemp("data"), rows=8)


@pytest.fixture(scope="module")
def folder(base: BaseModelSpec, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reward model; do not write into it."""
    root = tmp_path_factory.mktemp("reward")
    train_reward(
        data, root / "out", base=base, training=training_spec(), reward=reward_spec(max_steps=4), rlhf=rlhf_spec(),
        seed=3, at=Workplace(root / "checkpoints"),
    )  # fmt: skip
    return root / "out"


def test_scores_are_those_of_transformers_own_classifier(base: BaseModelSpec, folder: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification

    judge = load_reward_model(base, folder)
    scores = judge.score(PROMPTS, ANSWERS, batch_size=2)
    model: Any = AutoModelForSequenceClassification.from_pretrained(base.model, num_labels=1)
    oracle: Any = PeftModel.from_pretrained(model, str(folder)).eval()
    expected = []
    for prompt, answer in zip(PROMPTS, ANSWERS, strict=True):
        ids = render_answer(judge.tokenizer, prompt, answer)
        with torch.no_grad():
            expected.append(float(oracle(torch.tensor([ids])).logits[0, 0]))
    assert scores == pytest.approx(expected, abs=1e-5)
    assert len({round(score, 3) for score in scores}) == 3


def test_an_answer_is_read_at_its_end_token(base: BaseModelSpec) -> None:
    tokenizer: Any = load_tokenizer(base)
    text = tokenizer.decode(render_answer(tokenizer, (Message(role="user", content="why?"),), "so"))
    assert text == "<|im_start|>user\nwhy?<|im_end|>\n<|im_start|>assistant\nso<|im_end|>"


def test_a_long_conversation_is_read_from_its_end(base: BaseModelSpec, folder: Path) -> None:
    short = base.model_copy(update={"max_length": 24})
    asked = [(Message(role="user", content="a " * 100 + "b"),), (Message(role="user", content="c " * 120 + "b"),)]
    judge = load_reward_model(short, folder)
    assert len(set(judge.score(asked[:1], [LIKED]) + judge.score(asked[1:], [LIKED]))) == 2
    same_end = [(Message(role="user", content=f"{start} " + "a " * 100),) for start in ("x", "y")]
    first, second = judge.score(same_end, [LIKED] * 2)
    assert first == pytest.approx(second, abs=1e-6)


def test_beside_a_policy_it_scores_the_same_and_leaves_the_policy_alone(
    base: BaseModelSpec, folder: Path, data: Path, tmp_path: Path
) -> None:
    import torch

    train_sft(
        data, tmp_path / "sft", base=base, training=training_spec(max_steps=2), seed=3, at=Workplace(tmp_path / "c")
    )
    expected = load_reward_model(base, folder).score(PROMPTS, ANSWERS)
    policy: Any = load_adapted(base, tmp_path / "sft")
    policy.set_adapter("default")
    policy.train()
    trained = [name for name, weight in policy.named_parameters() if weight.requires_grad]
    tokenizer: Any = load_tokenizer(base)
    ids = torch.tensor([render_answer(tokenizer, PROMPTS[0], LIKED)])
    with torch.no_grad():
        before = policy.eval()(ids).logits
    size = sum(weight.numel() for name, weight in policy.named_parameters() if "lora" not in name)

    policy.train()
    judge = join_reward_model(policy, base, folder, tokenizer)
    assert judge.score(PROMPTS, ANSWERS) == pytest.approx(expected, abs=1e-6)
    assert sum(weight.numel() for name, weight in policy.named_parameters() if "lora" not in name) == size
    assert (policy.active_adapter, policy.training) == ("default", True)
    assert [name for name, weight in policy.named_parameters() if weight.requires_grad] == trained
    with torch.no_grad():
        assert torch.equal(policy.eval()(ids).logits, before)


def test_what_is_no_reward_model_of_this_base_is_refused(
    base: BaseModelSpec, folder: Path, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(BaseModelError, match=r"adapter_config\.json is missing"):
        load_reward_model(base, tmp_path)
    train_sft(
        data, tmp_path / "sft", base=base, training=training_spec(max_steps=1), seed=3, at=Workplace(tmp_path / "c")
    )
    with pytest.raises(BaseModelError, match="expected a reward model, its adapter has no scalar head"):
        load_reward_model(base, tmp_path / "sft")
    other = base_spec(build_tiny_model(tmp_path / "other", seed=1))
    with pytest.raises(BaseModelError, match=r"was trained on the base \w{12}, base\.model .* is \w{12} now"):
        check_reward_model(other, folder)

    unsigned = Path(shutil.copytree(folder, tmp_path / "unsigned"))
    (unsigned / "report.json").unlink()
    with pytest.raises(BaseModelError, match=r"expected a report\.json that names the base"):
        check_reward_model(base, unsigned)

    narrow = Path(shutil.copytree(folder, tmp_path / "narrow"))
    config = json.loads((narrow / "adapter_config.json").read_text())
    config["target_modules"] = ["q_proj"]
    (narrow / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(BaseModelError, match=r"does not fit base\.model .* unknown\)"):
        load_reward_model(base, narrow)

    pickled = Path(shutil.copytree(folder, tmp_path / "pickled"))
    (pickled / "adapter_model.safetensors").write_bytes(b"\x80\x04\x95")
    with pytest.raises(BaseModelError, match="nothing of it was loaded"):
        load_reward_model(base, pickled)
