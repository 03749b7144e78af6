"""Whole evaluations of a tiny random base with random adapters: nobody is good, but every figure has its owner."""

from __future__ import annotations

import json
import math
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flytewheel import models
from flytewheel.dataset import Dataset
from flytewheel.errors import DatasetError, EvaluationError
from flytewheel.evaluation.evaluate import Evaluation, evaluate, read_evaluation
from flytewheel.evaluation.gate import decide
from flytewheel.evaluation.perplexity import encode, score_completions
from flytewheel.recipe import BaseModelSpec, EvaluationSpec, ForgettingSpec, GateSpec, SafetySpec
from flytewheel.records import Decision, Message, RegressionCase, file_digest, read_jsonl

pytestmark = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"  # PEFT 0.21 asks transformers 5.23 by the old name
)
SPEC = EvaluationSpec(
    max_examples=6,
    max_new_tokens=8,
    bootstrap_samples=200,
    safety=SafetySpec(enable=False),
    forgetting=ForgettingSpec(enable=False),
)
NAMES = (
    "perplexity",
    "preference_accuracy",
    "implicit_reward_accuracy",
    "regression_pass_rate",
    "rouge_1",
    "rouge_2",
    "rouge_l",
    "bleu",
    "chrf",
    "distinct_1",
    "distinct_2",
    "length_ratio",
    "degenerate_share",
    "looping_share",
    "empty_share",
    "unstopped_share",
)


@pytest.fixture
def run(write_dataset: Callable[..., Path], base: BaseModelSpec, tmp_path: Path) -> Callable[..., Evaluation]:
    def start(
        candidate: Path | None, champion: Path | None, *, dataset: Path | None = None, **options: Any
    ) -> Evaluation:
        return evaluate(
            dataset or write_dataset(),
            tmp_path / "out",
            candidate=candidate,
            champion=champion,
            base=options.pop("base", base),
            evaluation=SPEC,
            seed=7,
            **options,
        )

    return start


def measure_alone(base: BaseModelSpec, adapter: Path | None, dataset: Path) -> tuple[float, float]:
    """Perplexity and preference accuracy of one model, loaded for itself."""
    data, tokenizer = Dataset(dataset), models.load_tokenizer(base)
    model = models.load_adapted(base, adapter, dtype="float32")

    def score(texts: list[tuple[Any, str]]) -> list[Any]:
        rows = [encode(tokenizer, prompt, said) for prompt, said in texts]
        return score_completions(model, rows, batch_size=1, pad_id=0)

    rows = score([(row.prompt, row.completion) for row in data.sft("test")])
    pairs = data.preferences("test")
    chosen = score([(pair.prompt, pair.chosen) for pair in pairs])
    rejected = score([(pair.prompt, pair.rejected) for pair in pairs])
    wins = sum(first.per_token > second.per_token for first, second in zip(chosen, rejected, strict=True))
    perplexity = math.exp(-sum(score.logprob_nats for score in rows) / sum(score.tokens for score in rows))
    return perplexity, wins / len(pairs)


@pytest.mark.parametrize("champion_is_base", [True, False])
def test_each_model_gets_its_own_figures(
    run: Callable[..., Evaluation],
    write_dataset: Callable[..., Path],
    base: BaseModelSpec,
    adapter: Path,
    other_adapter: Path,
    champion_is_base: bool,
) -> None:
    """Both adapters share one base in memory; the figures must be those of each model loaded for itself."""
    dataset = write_dataset()
    champion = None if champion_is_base else other_adapter
    found = run(adapter, champion, dataset=dataset)
    assert tuple(found.metrics) == NAMES
    for side, path in (("candidate", adapter), ("champion", champion)):
        perplexity, accuracy = measure_alone(base, path, dataset)
        assert getattr(found.metrics["perplexity"], side).estimate == pytest.approx(perplexity, rel=1e-5)
        assert getattr(found.metrics["preference_accuracy"], side).estimate == accuracy
    metrics = found.metrics
    assert metrics["perplexity"].difference.estimate != 0
    assert (metrics["perplexity"].rows, metrics["perplexity"].users) == (24, 8)
    assert (metrics["preference_accuracy"].rows, metrics["regression_pass_rate"].rows) == (16, 8)
    assert metrics["bleu"].rows == 6
    assert metrics["implicit_reward_accuracy"].candidate.known
    assert metrics["implicit_reward_accuracy"].champion.known is not champion_is_base
    assert found.champion == ("base" if champion_is_base else "adapter")


@pytest.mark.parametrize(
    ("sides", "kind"),
    [
        (("full", None), "base"),
        (("full", "adapter"), "adapter"),
        (("adapter", "full"), "full"),
        (("full", "other"), "full"),
        ((None, "full"), "full"),
    ],
)
def test_full_weights_speak_for_themselves(
    run: Callable[..., Evaluation],
    write_dataset: Callable[..., Path],
    base: BaseModelSpec,
    adapter: Path,
    build_full: Callable[[int], Path],
    sides: tuple[str | None, str | None],
    kind: str,
) -> None:
    """Beside the base, an adapter or other full weights, as candidate or champion: each gets its own figures."""
    folders = {"full": build_full(1), "other": build_full(2), "adapter": adapter, None: None}
    dataset = write_dataset(users=3)
    candidate, champion = (folders[side] for side in sides)
    found = run(candidate, champion, dataset=dataset)
    for side, path in (("candidate", candidate), ("champion", champion)):
        perplexity, accuracy = measure_alone(base, path, dataset)
        assert getattr(found.metrics["perplexity"], side).estimate == pytest.approx(perplexity, rel=1e-5)
        assert getattr(found.metrics["preference_accuracy"], side).estimate == accuracy
    assert found.metrics["perplexity"].difference.estimate != 0
    assert found.champion == kind


def test_full_weights_of_another_base_are_refused(
    run: Callable[..., Evaluation], build_full: Callable[[int], Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(build_full(1), broken)
    config = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps({**config, "vocab_size": 7}))
    with pytest.raises(EvaluationError, match=r"does not fit base\.model .*vocab_size is 7") as caught:
        run(broken, None)
    assert "\n" not in str(caught.value)
    (broken / "model.safetensors").unlink()
    with pytest.raises(EvaluationError, match=r"model\.safetensors is missing; train it again"):
        run(broken, None)


def test_the_result_is_written_and_the_same_every_time(
    run: Callable[..., Evaluation], adapter: Path, tmp_path: Path
) -> None:
    told: list[str] = []
    found = run(adapter, None, progress=lambda what, done, total: told.append(what))
    files = [tmp_path / "out" / name for name in ("evaluation.json", "answers.jsonl")]
    digests = [file_digest(file) for file in files]
    assert read_evaluation(tmp_path / "out") == found
    asked = {"scoring candidate", "answering candidate", "scoring champion", "answering champion"}
    assert set(told) == {"loading the model", *asked}
    answers = list(read_jsonl(files[1]))
    assert [row["kind"] for row in answers] == ["regression"] * 8 + ["test"] * 6
    assert {"prompt", "candidate", "champion", "reference"} <= set(answers[-1])
    assert any(row["candidate"] != row["champion"] for row in answers)
    run(adapter, None)
    assert [file_digest(file) for file in files] == digests


def test_a_model_against_itself_differs_in_nothing_and_is_held(
    run: Callable[..., Evaluation], adapter: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(adapter, copy)
    for candidate, champion in ((adapter, copy), (None, None)):
        told: set[str] = set()
        found = run(candidate, champion, progress=lambda what, done, total, told=told: told.add(what))
        assert found.unchanged
        assert "answering champion" not in told  # once is enough
        for name in NAMES:
            if name == "implicit_reward_accuracy" and champion is None:
                continue  # of the bare base against itself there is none
            difference = found.metrics[name].difference
            assert (difference.estimate, difference.low, difference.high) == (0, 0, 0), name
        assert decide(found, GateSpec()).decision is Decision.HOLD
        assert decide(found, GateSpec(preference_accuracy=None)).decision is Decision.HOLD
    (copy / "adapter_config.json").write_text((copy / "adapter_config.json").read_text() + "\n")
    assert not run(adapter, copy).unchanged


def test_cases_that_change_sides_are_listed(
    run: Callable[..., Evaluation], write_dataset: Callable[..., Path], adapter: Path, tmp_path: Path
) -> None:
    """The first word that the champion says is asked for, then forbidden."""
    run(adapter, None)
    said = {row["id"]: row for row in read_jsonl(tmp_path / "out" / "answers.jsonl") if row["kind"] == "regression"}
    changed = next(row for row in said.values() if row["candidate"].strip() != row["champion"].strip())
    prompt = tuple(Message(**message) for message in changed["prompt"])
    cases = [
        RegressionCase("lost", "suite", "ops", prompt, "exact", changed["champion"]),
        RegressionCase("won", "suite", "ops", prompt, "exact", changed["candidate"]),
        RegressionCase("kept", "suite", "ops", prompt, "forbidden", "never said by either"),
    ]
    found = run(adapter, None, dataset=write_dataset(cases=cases, name="second"))
    told = found.details["suite"]
    assert (told["newly_failing"], told["newly_passing"], told["asked"]) == (["lost"], ["won"], 3)
    assert found.counts["regressions"] == 1
    muted = run(adapter, None, dataset=tmp_path / "second", mutes={"lost": "a colleague looks at it"})
    assert muted.counts["regressions"] == 0
    assert muted.details["suite"]["muted_regressions"] == ["lost"]
    rules = GateSpec.model_validate({**dict.fromkeys(GateSpec.model_fields), "regressions": {"max": 0}})
    assert decide(found, rules).decision is Decision.REJECT
    passed = decide(muted, rules)
    assert passed.decision is Decision.PROMOTE_TO_CANARY
    assert "muted: regression case lost fails now; a colleague looks at it" in passed.reasons
    rate = found.metrics["regression_pass_rate"]
    assert (rate.candidate.estimate, rate.champion.estimate, rate.users) == (2 / 3, 2 / 3, 3)


def test_nothing_to_measure_is_unknown_and_held(
    run: Callable[..., Evaluation], write_dataset: Callable[..., Path], adapter: Path
) -> None:
    found = run(adapter, None, dataset=write_dataset(rows=[], pairs=[], cases=[]))
    assert not any(found.metrics[name].candidate.known for name in NAMES)
    verdict = decide(found, GateSpec())
    assert verdict.decision is Decision.HOLD
    assert len(verdict.reasons) == len(GateSpec().rules)


def test_faults_are_told_before_any_model_is_loaded(
    run: Callable[..., Evaluation], write_dataset: Callable[..., Path], adapter: Path, tmp_path: Path
) -> None:
    nowhere = BaseModelSpec(model=str(tmp_path / "nowhere"))
    case = RegressionCase("bad-1", "suite", "ops", (Message(role="user", content="?"),), "regex", "(")
    with pytest.raises(EvaluationError, match="regression case 'bad-1'"):
        run(adapter, None, dataset=write_dataset(cases=[case]), base=nowhere)
    with pytest.raises(EvaluationError, match=r"expected an adapter .* or full weights"):
        run(tmp_path, None, base=nowhere)
    with pytest.raises(DatasetError):
        run(adapter, None, dataset=tmp_path / "none")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("fault", ["other shape", "other names"])
def test_an_adapter_of_another_base_is_refused(
    run: Callable[..., Evaluation], adapter: Path, tmp_path: Path, fault: str
) -> None:
    """PEFT raises for wrong shapes, and only warns for weights that it does not find: both are one clear line."""
    from safetensors.torch import load_file, save_file

    broken = tmp_path / "broken"
    shutil.copytree(adapter, broken)
    file = broken / "adapter_model.safetensors"
    weights = load_file(file)
    if fault == "other shape":
        weights = {name: weight[..., :-1].contiguous() for name, weight in weights.items()}
    else:
        weights = {name.replace("layers", "blocks"): weight for name, weight in weights.items()}
    save_file(weights, file, metadata={"format": "pt"})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as in service, where a warning is only read later
        with pytest.raises(EvaluationError, match=r"candidate adapter .* does not fit the base model") as caught:
            run(broken, None)
    assert "\n" not in str(caught.value)


def test_the_written_file_is_plain_json(run: Callable[..., Evaluation], adapter: Path, tmp_path: Path) -> None:
    run(adapter, None)
    raw = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert raw["dataset"] == "abc123"
    assert raw["metrics"]["implicit_reward_accuracy"]["champion"] == {
        "estimate": None,
        "low": None,
        "high": None,
        "level": 0.95,
    }
