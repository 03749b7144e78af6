"""The recipe: everything that decides a turn of the loop, in one strict, frozen tree.

One YAML file is one recipe (`recipes/`). Every key is known, every value typed; all faults are reported at once, each
with its path. A recipe never changes in flight: runs, checkpoints and data sets are named by the digest of the part
they depend on. Defaults are those of the reference design unless a field says otherwise; models and data have no
default. In YAML write either 2e-4 or 0.0002.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from flytewheel.errors import RecipeError
from flytewheel.recipe.curation import AbuseSpec as AbuseSpec
from flytewheel.recipe.curation import CurationSpec as CurationSpec
from flytewheel.recipe.curation import EndpointSpec as EndpointSpec
from flytewheel.recipe.curation import NamesSpec as NamesSpec
from flytewheel.recipe.curation import QualityWeights as QualityWeights
from flytewheel.recipe.drift import DriftSpec as DriftSpec
from flytewheel.recipe.evaluation import EvaluationSpec as EvaluationSpec
from flytewheel.recipe.evaluation import GateRule as GateRule
from flytewheel.recipe.evaluation import GateSpec as GateSpec
from flytewheel.recipe.evaluation import ReviewSpec as ReviewSpec
from flytewheel.recipe.evaluation import TopicsSpec as TopicsSpec
from flytewheel.recipe.groundedness import GroundednessSpec as GroundednessSpec
from flytewheel.recipe.incremental import IncrementalSpec as IncrementalSpec
from flytewheel.recipe.incremental import shrink
from flytewheel.recipe.judging import JudgeSpec as JudgeSpec
from flytewheel.recipe.lm_eval import LmEvalSpec as LmEvalSpec
from flytewheel.recipe.lm_eval import list_tasks_not_run
from flytewheel.recipe.metrics import Guardrail as Guardrail
from flytewheel.recipe.metrics import MetricSpec as MetricSpec
from flytewheel.recipe.privacy import PrivacySpec as PrivacySpec
from flytewheel.recipe.releasing import Releasing
from flytewheel.recipe.releasing import ShadowSpec as ShadowSpec
from flytewheel.recipe.safety import ForgettingSpec as ForgettingSpec
from flytewheel.recipe.safety import SafetySpec as SafetySpec
from flytewheel.recipe.safety import list_unmeasured, settle_gate
from flytewheel.recipe.speed import SpeedSpec as SpeedSpec
from flytewheel.recipe.training import BaseModelSpec as BaseModelSpec
from flytewheel.recipe.training import BudgetSpec as BudgetSpec
from flytewheel.recipe.training import GrpoSpec as GrpoSpec
from flytewheel.recipe.training import RewardSpec as RewardSpec
from flytewheel.recipe.training import RlhfSpec as RlhfSpec
from flytewheel.recipe.training import TrainingSpec as TrainingSpec
from flytewheel.recipe.upkeep import UpkeepSpec as UpkeepSpec
from flytewheel.strict import AtLeastOne, Count, Many, Number, Positive, Section, Share, list_faults, list_refused

Quantization = Literal["F16", "BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M"]
Mode = Literal["full", "incremental"]


class FeedbackFiles(Section):
    """Recorded logs to import before curating, as `flytewheel feedback import` would; already stored lines are
    skipped.
    """

    interactions: str
    feedback: str


class Rewards(Section):
    """Reward of each reaction, summed and clipped to [-1, 1] (DESIGN §3). A rating r counts (r - 3) / 2."""

    thumbs_up: Number = 1.0
    thumbs_down: Number = -1.0
    correction: Number = -0.5
    abandonment: Number = -0.8
    follow_up: Number = 0.0
    edit: Number = Field(default=0.0, description="the reader changed the answer and used it: neither good nor bad")
    duel: Number = Field(default=0.5, description="preferred in a blind comparison; lost: the same below zero")
    reformulation: Number = -0.5
    accepted: Number = 0.6
    accepted_within_s: Positive = 3.0
    copied: Number = 0.4
    citation_click: Number = 0.3
    read_time: Number = 0.5
    read_share: Share = Field(default=0.8, description="share of the expected reading time that counts as read")


class FeedbackSpec(Section):
    """Which reactions are listened to."""

    sources: Many[str] = Field(default=(), description="streams to curate; none: the one named as the recipe")
    files: FeedbackFiles | None = None
    enable_explicit: bool = True
    enable_implicit: bool = True
    min_session_duration_s: Count = Field(
        default=0, description="shorter sessions' implicit signals are ignored; the reference design has 10"
    )
    implicit_tracking_events: Many[Literal["reformulation", "accepted", "copied", "citation_click", "read_time"]] = (
        "reformulation",
        "accepted",
        "copied",
        "citation_click",
        "read_time",
    )
    rewards: Rewards = Rewards()


class ExportSpec(Section):
    """GGUF files to write, and the one to serve."""

    quantizations: Many[Quantization] = ("Q8_0", "Q4_K_M")
    serve: Quantization = "Q8_0"
    adapter: bool = Field(
        default=True,
        description="also the adapter alone as a GGUF, so that one resident base can serve many versions; it is tried "
        "on the base's own file",
    )
    parity_prompts: AtLeastOne = Field(
        default=20, description="held-out conversations that every file is compared with the trained weights on"
    )
    parity_tokens: AtLeastOne = Field(default=48, description="greedy tokens of each answer that are compared")
    parity_positions: AtLeastOne = Field(
        default=2048, description="tokens of those conversations at which distributions are compared, in all"
    )
    parity_noise_factor: Annotated[Number, Field(ge=1)] = Field(
        default=8.0,
        description="a file may lose so many times what the same rounding costs the base on the same texts (KL "
        "divergence, geometric mean over the texts)",
    )

    @model_validator(mode="before")
    @classmethod
    def _tolerance_is_measured(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and "parity_logit_tolerance" in data:
            raise ValueError(
                "parity_logit_tolerance is gone: a greedy difference counts beyond what rounding does to the weights' "
                "logits, which is measured; remove it (export.parity_noise_factor bounds the loss)"
            )
        return data

    @model_validator(mode="after")
    def _served_file_is_written(self) -> Self:
        if self.serve != "F16" and self.serve not in self.quantizations:
            raise ValueError(f"serve {self.serve!r} must be one of quantizations or 'F16'")
        return self


class AbTestingSpec(Releasing):
    """The canary and the release that follows it."""

    initial_traffic_split: Annotated[Number, Field(gt=0, lt=1)] = 0.1
    allocation: Literal["fixed", "thompson", "epsilon_greedy", "linucb"] = "fixed"
    exploration: Share = Field(default=0.1, description="ε of epsilon_greedy and linucb: who meets any arm, by chance")
    arm_floor: Annotated[Number, Field(gt=0, le=0.5)] = Field(
        default=0.1, description="the least probability of each arm for a new user, where an allocation learns"
    )
    reward_half_life_hours: Positive | None = Field(
        default=None, description="a reward's weight halves in this time, where users or models change; null: never"
    )
    context_features: Many[Literal["topic", "prompt_length", "recent_reward"]] = Field(
        default=("topic", "prompt_length", "recent_reward"), description="what linucb sees of a new user's request"
    )
    min_sample_size: AtLeastOne = Field(default=1000, description="users an arm")
    burn_in_users: AtLeastOne = 50
    confidence_level: Annotated[Number, Field(gt=0.5, lt=1)] = 0.95
    rollout_stages: Many[Share] = (0.1, 0.25, 0.5, 1.0)
    stage_duration_hours: Positive = 24.0
    max_duration_days: Positive = Field(
        default=28.0, description="a canary that is not cleared by then is taken back; a stage may take 14 days"
    )
    stale_after_hours: Positive = Field(
        default=24.0, description="with nothing new for so long a canary is held, whatever was counted before"
    )
    exclusion_group: str | None = Field(
        default=None, max_length=100, description="of experiments, on whichever models, that share no user"
    )
    group_share: Annotated[Number, Field(gt=0, le=1)] = Field(
        default=1.0, description="of the group's users, that this one takes; the others are left to other experiments"
    )

    @model_validator(mode="after")
    def _stages_grow_to_one(self) -> Self:
        stages = self.rollout_stages
        if list(stages) != sorted(set(stages)) or not stages or stages[-1] != 1.0 or stages[0] <= 0:
            raise ValueError(f"rollout_stages must grow from above 0 to 1.0, not {list(stages)}")
        return self


class NotifySpec(Section):
    """Who hears of a finished or failed execution from Flyte itself, which sends mail only: the addresses of a Slack
    channel, of a PagerDuty service, and of people. People's are also who gets our own mails (FLYTEWHEEL_SMTP_URL).
    """

    slack: Many[str] = ()
    pagerduty: Many[str] = ()
    email: Many[str] = ()


class AutomationSpec(Section):
    """What happens without a person."""

    auto_finetune: bool = True
    auto_experiment: bool = True
    auto_rollout: bool = False
    rollback_on_regression: bool = True
    schedule: str = Field(default="0 2 * * 0", description="cron, UTC: Sunday 02:00")
    retrain_after_hours: Positive = 168.0
    retrain_after_interactions: AtLeastOne = 10_000
    least_hours_between_turns: Positive = Field(
        default=24.0, description="a trigger launches no full turn sooner after the last launch; a person may"
    )
    incremental: IncrementalSpec = IncrementalSpec()
    notify: NotifySpec = NotifySpec()
    upkeep: UpkeepSpec = UpkeepSpec()


class TrackingSpec(Section):
    """Where curves and artifacts go. Without an account wandb runs offline; `WANDB_MODE` decides otherwise."""

    wandb_project: str = "flytewheel"
    wandb_entity: str | None = None


class Recipe(Section):
    """One way of turning the loop. `name` names the model that is served: registry, router and feedback stream."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")
    mode: Mode = Field(
        default="full",
        description="`full`: from the base; `incremental`: from the champion's adapter, as `automation.incremental` "
        "says. `flytewheel run --incremental` and the triggers ask for it without another file",
    )
    seed: int = Field(default=7, ge=0, lt=2**31)
    base: BaseModelSpec
    feedback: FeedbackSpec = FeedbackSpec()
    curation: CurationSpec = CurationSpec()
    training: TrainingSpec = TrainingSpec()
    reward: RewardSpec = RewardSpec()
    rlhf: RlhfSpec = RlhfSpec()
    budget: BudgetSpec = BudgetSpec()
    evaluation: EvaluationSpec = EvaluationSpec()
    gate: GateSpec = GateSpec()
    export: ExportSpec = ExportSpec()
    ab_testing: AbTestingSpec = AbTestingSpec()
    automation: AutomationSpec = AutomationSpec()
    drift: DriftSpec = DriftSpec()
    tracking: TrackingSpec = TrackingSpec()
    privacy: PrivacySpec = PrivacySpec()

    @model_validator(mode="after")
    def _grpo_trains_an_adapter(self) -> Self:
        if self.rlhf.enable and self.rlhf.method == "grpo" and self.training.adapter == "full":
            raise ValueError("rlhf.method 'grpo' trains an adapter: take training.adapter 'lora' or 'qlora'")
        return self

    @model_validator(mode="before")
    @classmethod
    def _gate_what_is_measured(cls, data: Any) -> Any:
        return settle_gate(data)

    @model_validator(mode="wrap")
    @classmethod
    def _say_every_fault_in_one_line(cls, data: Any, handler: Any) -> Self:
        refused = list_refused(data)
        try:
            recipe: Self = handler(data)
        except ValidationError as error:
            raise RecipeError("recipe", [*refused.values(), *list_faults(error, refused)]) from None
        if faults := [*refused.values(), *recipe._list_misfits()]:
            raise RecipeError("recipe", faults)
        return recipe

    def _list_misfits(self) -> list[str]:
        """Faults that sections have only together."""
        faults = list_unmeasured(self.evaluation, self.gate)
        faults += list_tasks_not_run(self.evaluation.lm_eval, self.gate.lm_eval or {})
        small, most = self.automation.incremental, self.curation.max_interactions
        if not (small.enable or self.mode == "incremental") or small.after_interactions <= most:
            return faults
        return [
            *faults,
            f"automation.incremental.after_interactions {small.after_interactions} must not exceed "
            f"curation.max_interactions {most}",
        ]

    def in_mode(self, mode: Mode) -> Recipe:
        """The same recipe for a turn of this kind; another digest, so its runs are others.

        Raises:
            RecipeError: it cannot be run so.
        """
        return Recipe.model_validate({**dict(self), "mode": mode})

    def settle(self) -> Recipe:
        """What a run is asked for: the small turn's figures in the places where stations look; else the recipe itself.

        Settling a settled recipe changes nothing.
        """
        if self.mode == "full":
            return self
        small = self.automation.incremental
        settled = small.model_copy(update={"learning_rate_factor": 1.0})
        return self.model_copy(
            update={
                "curation": self.curation.model_copy(update={"min_interactions": small.fewest}),
                "training": shrink(self.training, small),
                "rlhf": shrink(self.rlhf, small),
                "automation": self.automation.model_copy(update={"incremental": settled}),
            }
        )

    @property
    def sources(self) -> tuple[str, ...]:
        """The feedback streams that this recipe learns from."""
        return self.feedback.sources or (self.name,)


def load_recipe(path: str | Path) -> Recipe:
    """Reads a recipe from a YAML or JSON file.

    Raises:
        RecipeError: the file is missing, is not YAML, or has faults; all of them are listed.
    """
    source = Path(path)
    try:
        data = yaml.safe_load(source.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(str(path), [f"cannot be read ({error.strerror})"]) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(str(path), [" ".join(str(error).split())]) from None
    if not isinstance(data, Mapping):
        raise RecipeError(str(path), [f"expected sections such as `name:` and `base:`, got {type(data).__name__}"])
    try:
        return Recipe.model_validate_json(json.dumps(data, default=str))
    except RecipeError as error:
        raise RecipeError(str(path), error.faults) from None
