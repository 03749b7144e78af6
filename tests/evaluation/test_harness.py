"""Tasks of lm-eval: what is refused before a model is loaded, how documents are paired, whole runs on local tasks."""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flytewheel.errors import EvaluationError, RecipeError
from flytewheel.evaluation.evaluate import Evaluation, evaluate, read_evaluation
from flytewheel.evaluation.gate import decide
from flytewheel.evaluation.harness import Score, compare_tasks, open_harness
from flytewheel.evaluation.measure import Compare
from flytewheel.evaluation.report import describe
from flytewheel.evaluation_page.subject import Subject, read_figures
from flytewheel.recipe import (
    BaseModelSpec,
    EvaluationSpec,
    ForgettingSpec,
    GateSpec,
    LmEvalSpec,
    Recipe,
    SafetySpec,
)
from flytewheel.records import Decision, to_jsonable

pytestmark = [
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]
INSTALLED = importlib.util.find_spec("lm_eval") is not None
needs_lm_eval = pytest.mark.skipif(not INSTALLED, reason="lm-eval is not installed: pip install 'flytewheel[lm-eval]'")
COMPARE = Compare(samples=400, level=0.95, seed=3)
NOTHING = dict.fromkeys(GateSpec.model_fields)
SMALLEST = {"name": "demo", "base": {"model": "pocket"}}
CHOICE = """task: colours
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}, cache_dir: {cache}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{answer}}}}"
metric_list:
  - {{metric: acc, aggregation: mean, higher_is_better: true}}
  - {{metric: acc_norm, aggregation: mean, higher_is_better: false}}
"""
FREE = """task: echoes
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}, cache_dir: {cache}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{reply}}}}"
generation_kwargs: {{until: ["."], max_gen_toks: 8, do_sample: false}}
metric_list:
  - {{metric: exact_match, aggregation: mean, higher_is_better: true}}
"""
ROLLING = """task: pages
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}, cache_dir: {cache}}}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{{{question}}}}"
metric_list: [{{metric: word_perplexity}}, {{metric: bits_per_byte}}]
"""


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    """A folder with three tasks over twelve documents of one local file."""
    folder = tmp_path / "tasks"
    folder.mkdir()
    lines = [
        {
            "question": f"Who owns cache {n}?",
            "choices": ["the owner", "the team"],
            "answer": n % 2,
            "reply": "x",
        }
        for n in range(12)
    ]
    file = tmp_path / "documents.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    for name, text in (("colours", CHOICE), ("echoes", FREE), ("pages", ROLLING)):
        (folder / f"{name}.yaml").write_text(text.format(file=file, cache=tmp_path / "cache"), encoding="utf-8")
    return folder


def test_no_task_is_the_default_and_needs_nothing() -> None:
    assert EvaluationSpec().lm_eval.tasks == ()
    assert open_harness(LmEvalSpec(), 7).score(None, None) == {}
    assert compare_tasks({}, {}, COMPARE).metrics == {}


def test_rules_are_named_as_the_figures_are_and_a_task_that_is_not_run_is_a_fault() -> None:
    rule = {"max_worsening_absolute": 0.02}

    def read(tasks: list[str], name: str) -> Recipe:
        return Recipe.model_validate(
            {**SMALLEST, "evaluation": {"lm_eval": {"tasks": tasks}}, "gate": {"lm_eval": {name: rule}}}
        )

    recipe = read(["arc_easy"], "arc_easy/acc")
    assert recipe.gate.rules["lm_eval/arc_easy/acc"].max_worsening_absolute == 0.02
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe
    assert "lm_eval/mmlu_anatomy/acc" in read(["mmlu"], "mmlu_anatomy/acc").gate.rules
    with pytest.raises(RecipeError, match=r"gate\.lm_eval\.boolq/acc: task 'boolq' is not run; .*\(arc_easy\)"):
        read(["arc_easy"], "boolq/acc")
    with pytest.raises(RecipeError, match=r"gate\.lm_eval\.acc: expected task/metric"):
        read(["arc_easy"], "acc")


@pytest.mark.skipif(INSTALLED, reason="lm-eval is installed: pip uninstall lm_eval to see the refusal")
def test_without_lm_eval_it_is_said_how_to_install_it_before_a_model_is_loaded(
    write_dataset: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(EvaluationError, match=r"lm-eval is not installed; pip install 'flytewheel\[lm-eval\]'"):
        evaluate(
            write_dataset(),
            tmp_path / "out",
            candidate=None,
            champion=None,
            base=BaseModelSpec(model=str(tmp_path / "no such base")),
            evaluation=EvaluationSpec(lm_eval=LmEvalSpec(tasks=("arc_easy",))),
            seed=1,
        )
    assert not (tmp_path / "out").exists()


def score(values: dict[int, Any], kind: str = "mean", *, lower: bool | None = False, whole: float = 0.5) -> Score:
    return Score(whole, values, kind, lower)


def test_documents_are_paired_and_the_direction_is_the_tasks_own() -> None:
    """Candidate right on 18 of 20, champion on 2; less is better, so the gate turns it down."""
    ours, theirs = ({n: float(n >= edge) for n in range(20)} for edge in (2, 18))
    for lower, decision in ((False, Decision.PROMOTE_TO_CANARY), (True, Decision.REJECT)):
        found = compare_tasks({"t/acc": score(ours, lower=lower)}, {"t/acc": score(theirs, lower=lower)}, COMPARE)
        figure = found.metrics["lm_eval/t/acc"]
        assert (figure.candidate.estimate, figure.champion.estimate, figure.users) == (0.9, 0.1, 20)
        assert figure.difference.low is not None
        assert figure.difference.low > 0.4
        gate = GateSpec.model_validate({**NOTHING, "lm_eval": {"t/acc": {"improve": True}}})
        evaluation = Evaluation(metrics=found.metrics)
        verdict = decide(evaluation, gate)
        assert verdict.decision is decision, verdict.reasons
        assert "over 20 rows of 20 documents" in verdict.reasons[0]
        assert ("lm_eval/t/acc ↓" in describe(evaluation)) is lower
        drawn = read_figures(Subject(to_jsonable(evaluation)))
        assert [each.standing for each in drawn] == ["worse" if lower else "better"]


def test_only_documents_that_both_scored_count() -> None:
    found = compare_tasks(
        {"t/acc": score({1: 1.0, 2: 0.0, 3: 1.0})}, {"t/acc": score({2: 1.0, 3: 1.0, 4: 1.0})}, COMPARE
    )
    figure = found.metrics["lm_eval/t/acc"]
    assert (figure.rows, figure.candidate.estimate, figure.champion.estimate) == (2, 0.5, 1.0)


def test_perplexities_keep_their_weights() -> None:
    """Two documents of 1 and 3 words with log-probabilities -1 and -6: exp(7 / 4); 7 / 4 / ln 2 bits."""
    values = {0: (-1.0, 1), 1: (-6.0, 3)}
    for kind, expected in (("weighted_perplexity", math.exp(7 / 4)), ("bits_per_byte", 7 / 4 / math.log(2))):
        found = compare_tasks({"t/p": score(values, kind)}, {"t/p": score(values, kind)}, COMPARE)
        assert found.metrics["lm_eval/t/p"].candidate.estimate == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["f1_score", "mean"])
def test_what_is_no_sum_over_documents_has_no_interval_and_does_not_pass(kind: str) -> None:
    values: dict[int, Any] = {n: ("gold", "said", 1) for n in range(20)}
    one, other = ({"t/f1": score(values, kind, whole=whole, lower=None)} for whole in (0.9, 0.1))
    found = compare_tasks(one, other, COMPARE)
    figure = found.metrics["lm_eval/t/f1"]
    assert (figure.candidate.estimate, figure.candidate.low) == (0.9, None)
    assert any("does not say which way is better" in note for note in found.notes)
    for rule, decision in (({"improve": True}, Decision.HOLD), ({"min": 0.8}, Decision.PROMOTE_TO_CANARY)):
        gate = GateSpec.model_validate({**NOTHING, "lm_eval": {"t/f1": rule}})
        assert decide(Evaluation(metrics=found.metrics), gate).decision is decision


def test_a_rule_on_a_figure_that_the_task_does_not_have_holds() -> None:
    gate = GateSpec.model_validate({**NOTHING, "lm_eval": {"t/acc": {"min": 0.1}}})
    verdict = decide(Evaluation(metrics={}), gate)
    assert verdict.decision is Decision.HOLD
    assert "take the rule out of gate.lm_eval" in verdict.reasons[0]


@needs_lm_eval
def test_faults_of_tasks_are_one_line_with_the_next_step(tasks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(EvaluationError, match=r"include: no folder '/nowhere'; name the folder"):
        open_harness(LmEvalSpec(tasks=("colours",), include="/nowhere"), 7)
    with pytest.raises(EvaluationError, match=r"unknown task 'colour'; did you mean colours"):
        open_harness(LmEvalSpec(tasks=("colour",), include=str(tasks)), 7)
    with pytest.raises(EvaluationError, match=r"arc_easy cannot be opened \(.*reachable or cached") as caught:
        open_harness(LmEvalSpec(tasks=("arc_easy",)), 7)
    assert "\n" not in str(caught.value)
    print(caught.value)


@needs_lm_eval
def test_both_models_take_local_tasks(
    tasks: Path, write_dataset: Callable[..., Path], base: BaseModelSpec, adapter: Path, tmp_path: Path
) -> None:
    spec = EvaluationSpec(
        max_examples=2,
        max_new_tokens=8,
        bootstrap_samples=200,
        safety=SafetySpec(enable=False),
        forgetting=ForgettingSpec(enable=False),
        lm_eval=LmEvalSpec(tasks=("colours", "echoes", "pages"), include=str(tasks), batch_size=4),
    )
    found = evaluate(
        write_dataset(), tmp_path / "out", candidate=adapter, champion=None, base=base, evaluation=spec, seed=5
    )
    print(describe(found))
    names = ["colours/acc", "colours/acc_norm", "echoes/exact_match", "pages/word_perplexity", "pages/bits_per_byte"]
    for name in names:
        figure = found.metrics[f"lm_eval/{name}"]
        assert (figure.rows, figure.users) == (12, 12), name
        assert figure.difference.low is not None, name
    lower = {name for name in names if found.metrics[f"lm_eval/{name}"].lower_is_better}
    assert lower == {"colours/acc_norm", "pages/word_perplexity", "pages/bits_per_byte"}
    bits = found.metrics["lm_eval/pages/bits_per_byte"].difference.estimate
    assert bits is not None
    assert abs(bits) > 1e-6  # two models were asked, not one twice
    assert read_evaluation(tmp_path / "out") == found


@needs_lm_eval
def test_figures_equal_lm_evals_own(tasks: Path, loaded: tuple[Any, Any]) -> None:
    spec = LmEvalSpec(tasks=("colours", "echoes", "pages"), include=str(tasks), limit=7, chat_template=False)
    scores = open_harness(spec, 7).score(*loaded)
    found = compare_tasks(scores, scores, COMPARE)
    assert scores
    for name, one in scores.items():
        figure = found.metrics[f"lm_eval/{name}"]
        assert figure.rows == 7
        assert figure.candidate.estimate == pytest.approx(one.whole, rel=1e-9), name
