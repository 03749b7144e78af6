"""A turn of the loop in which every task's body runs twice: the first answer is lost, as by a machine that dies between
effect and answer, and the second one goes on.

    python -m tests.tasks.twice_child RECIPE      prints a line of JSON: how often each task ran
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from typing import Any

from flytekit.core.python_function_task import PythonFunctionTask

from flytewheel.recipe import load_recipe

RAN: Counter[str] = Counter()


def run_twice() -> None:
    """Has flytekit run the body of every task twice; a dynamic's body only makes the graph of others."""
    execute = PythonFunctionTask.execute

    def doubled(self: PythonFunctionTask[Any], **given: Any) -> Any:
        if self.execution_mode == self.ExecutionBehavior.DEFAULT:
            RAN[self.name.rpartition(".")[2]] += 2
            execute(self, **given)
        return execute(self, **given)

    PythonFunctionTask.execute = doubled  # type: ignore[method-assign]


def main() -> int:
    from workflows.weekly import weekly

    run_twice()
    print(json.dumps({"said": weekly(recipe=load_recipe(sys.argv[1])), "ran": dict(RAN)}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
