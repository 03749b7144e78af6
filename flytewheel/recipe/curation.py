"""How a window of feedback becomes a data set: the recipe's section `curation`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from flytewheel.strict import AtLeastOne, Count, Many, Number, Positive, Section, Share


class QualityWeights(Section):
    """Quality of an interaction, a weighted sum clipped to [0, 1] (DESIGN §3)."""

    explicit: Share = 0.4
    implicit: Share = 0.3
    length: Share = 0.15
    context: Share = 0.15


class EndpointSpec(Section):
    """A model behind an HTTP interface of the user's. Its key is read from the environment, never from the recipe."""

    url: str = Field(pattern=r"^https?://", description="the endpoint's whole address up to /v1, or of the classifier")
    model: str | None = None
    api_key_env: str | None = Field(default=None, description="environment variable that holds the key")
    timeout_s: Positive = 30.0
    concurrency: AtLeastOne = 4
    threshold: Share = Field(default=0.5, description="a classifier's score from which a text is kept out")

    @model_validator(mode="after")
    def _holds_no_secret(self) -> Self:
        if "@" in self.url or "?" in self.url:
            raise ValueError("url must hold neither user nor query: recipes are stored; put the key in api_key_env")
        return self


class NamesSpec(Section):
    """Who finds the names of people: a spaCy model that is installed or lies in a folder, or an endpoint."""

    spacy_model: str | None = None
    endpoint: EndpointSpec | None = None

    @model_validator(mode="after")
    def _one_finder(self) -> Self:
        if (self.spacy_model is None) == (self.endpoint is None):
            raise ValueError("give either spacy_model or endpoint")
        return self


class AbuseSpec(Section):
    """Votes that are not people's own opinion go into quarantine. 0 switches a rule off."""

    burst_events: Count = Field(default=20, description="explicit reactions of one user …")
    burst_s: Positive = Field(default=60.0, description="… within so many seconds")
    daily_events: Count = Field(default=300, description="explicit reactions of one user within 24 hours")
    brigade_users: Count = Field(
        default=10, description="accounts that act together, fewest; 0 switches off all rules about crowds"
    )
    brigade_s: Positive = Field(default=3600.0, description="seconds within which a crowd acts on one answer")
    lockstep_targets: AtLeastOne = Field(default=5, description="votes that two accounts share, fewest")
    lockstep_share: Share = Field(
        default=0.5, description="share of the smaller account's votes that two accounts cast alike, in lockstep"
    )
    honest_dissent: Share = Field(
        default=0.05,
        description="share of votes against the majority of an answer among people who do not know of each other; "
        "a crowd that disagrees about so much is honest",
    )
    min_account_age_s: Annotated[Number, Field(ge=0)] = Field(
        default=0.0, description="reactions of accounts younger than this; needs `metadata.account_created_at`"
    )


class CurationSpec(Section):
    """How a window of feedback becomes a data set."""

    schedule: Literal["hourly", "daily", "weekly"] = "weekly"
    window: Literal["new"] | AtLeastOne = Field(
        default="new", description="`new`: what came since the last window; a number: that window again"
    )
    partitions: AtLeastOne = Field(default=1, description="map tasks of a Flyte cluster; the result is the same")
    min_interactions: AtLeastOne = 1000
    max_interactions: AtLeastOne = 10_000
    min_quality_score: Share = 0.5
    quality: QualityWeights = QualityWeights()
    min_answer_tokens: AtLeastOne = 10
    max_answer_tokens: AtLeastOne = 1000
    redact_pii: bool = True
    names: NamesSpec | None = Field(default=None, description="finds names of people; patterns cannot")
    screen_toxicity: bool = True
    screen_injection: bool = True
    screen_gibberish: bool = True
    screen_refusals: bool = True
    screen_truncated: bool = True
    languages: Many[str] = Field(default=(), description="ISO 639-1 codes of the answers; none: any language")
    classifier: EndpointSpec | None = Field(default=None, description="a safety classifier asked about every answer")
    abuse: AbuseSpec = AbuseSpec()
    near_duplicate_similarity: Share = 0.9
    near_pair_similarity: Share = Field(
        default=0.9, description="prompts so near ask the same question: their answers may form a pair"
    )
    max_rows_per_user: AtLeastOne = Field(default=5, description="training rows of one user in a window")
    max_rows_per_cluster: AtLeastOne = Field(default=20, description="rows of one cluster of near-identical prompts")
    min_reward_margin: Positive = 0.5
    cluster_topics: bool = Field(default=True, description="find topics where interactions bring none")
    max_topics: AtLeastOne = Field(default=20, description="most topics that clustering may find")
    balance_topics: bool = True
    balance_by: Literal["cap", "weight"] = Field(
        default="cap", description="cut large topics, or keep their rows with less weight"
    )
    max_topic_ratio: Annotated[Number, Field(ge=1)] = Field(
        default=3.0, description="the largest topic has at most so many times the rows of the median topic"
    )
    augmentation_factor: Annotated[Number, Field(ge=1)] = Field(
        default=1.5, description="rows after paraphrasing queries, per row before"
    )
    paraphraser: EndpointSpec | None = Field(
        default=None, description="an OpenAI-compatible model that rewords queries; none: by rules"
    )
    replay_share: Share = Field(
        default=0.2, description="share of training rows from earlier data sets, when there are any"
    )
    holdout_share: Share = Field(default=0.05, description="users who are never trained on, in any week")
    split_salt: str = Field(default="flytewheel", description="changing it deals all users out anew")
    train_share: Share = 0.8
    validation_share: Share = 0.1
    regression_cases: str | None = Field(default=None, description="a JSONL file of hand-written regression cases")
    max_regression_cases: Count = Field(
        default=1000, description="regression cases that a part of a data set carries; the suite keeps them all"
    )
    canaries: Count = Field(
        default=0, description="made-up secrets planted in the training rows; evaluation tries to get them out again"
    )
    license: str | None = Field(default=None, description="of the data set, for its card")

    @model_validator(mode="after")
    def _shares_leave_a_test_part(self) -> Self:
        if self.train_share + self.validation_share >= 1:
            raise ValueError("train_share + validation_share must be below 1: the rest is the test part")
        if self.near_pair_similarity < self.near_duplicate_similarity:
            raise ValueError("near_pair_similarity must not be below near_duplicate_similarity, which finds prompts")
        if self.holdout_share >= 1:
            raise ValueError("holdout_share must be below 1: nothing would be left to train on")
        if self.min_answer_tokens >= self.max_answer_tokens:
            raise ValueError("min_answer_tokens must be below max_answer_tokens")
        if self.min_interactions > self.max_interactions:
            raise ValueError("min_interactions must not exceed max_interactions")
        return self
