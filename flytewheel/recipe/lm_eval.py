"""Which tasks of the lm-eval harness both models take: the recipe's section `evaluation.lm_eval`, and rules about them.

lm-eval is an extra: `pip install 'flytewheel[lm-eval]'`.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from flytewheel.strict import AtLeastOne, Many, Section

LM_EVAL = "lm_eval/"  # how the names of its figures begin


class LmEvalSpec(Section):
    """Tasks that candidate and champion take under the same prompts; none by default."""

    tasks: Many[str] = Field(default=(), description="names of tasks, groups or tags, as `lm-eval ls tasks` lists them")
    include: str | None = Field(
        default=None, description="folder with task files of your own; Python that they name is run"
    )
    limit: AtLeastOne | None = Field(default=None, description="documents of each task, the first; none: all")
    batch_size: AtLeastOne = 8
    chat_template: bool = Field(
        default=True, description="prompts in the base's chat form, as people meet it; published figures often are bare"
    )


def list_tasks_not_run(spec: LmEvalSpec, rules: Iterable[str]) -> list[str]:
    """Faults of gate rules, by `task/metric`, on tasks that are not run: they would hold for ever.

    What a group holds is known only to lm-eval, which names its parts `group_part`; these may be asked for.
    """
    faults = []
    for name in rules:
        task, _, metric = name.rpartition("/")
        if not task or not metric:
            faults.append(f"gate.lm_eval.{name}: expected task/metric, such as arc_easy/acc")
        elif not any(task == listed or task.startswith(f"{listed}_") for listed in spec.tasks):
            run = ", ".join(spec.tasks) or "none"
            faults.append(
                f"gate.lm_eval.{name}: task {task!r} is not run; add it to evaluation.lm_eval.tasks ({run}) or take "
                "the rule away"
            )
    return faults
