"""The demo's data set, curated from the bundled feedback as `recipes/demo.yaml` says, for measuring training on it.

python -m benchmarks.demo_data FOLDER
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path

from flytewheel.curation.build import build_dataset
from flytewheel.curation.prepare import Rules
from flytewheel.database import migrate
from flytewheel.feedback import rewards
from flytewheel.feedback.store import FeedbackStore
from flytewheel.feedback.window import close_window, write_window
from flytewheel.local import places, postgres
from flytewheel.recipe import Recipe, load_recipe
from flytewheel.tokens import TokenCounter
from flytewheel.turn import locate_cases, locate_logs

ROOT = Path(__file__).resolve().parent.parent
_PASSWORD = "benchmark"


def load_demo_recipe() -> Recipe:
    """The recipe of the demo."""
    return load_recipe(ROOT / "recipes" / "demo.yaml")


def build_demo_dataset(out: Path, recipe: Recipe | None = None) -> Path:
    """Curates the bundled feedback into the folder `out`, through a PostgreSQL of its own, and returns `out`."""
    recipe = recipe or load_demo_recipe()
    logs = locate_logs(recipe.feedback)
    assert logs is not None
    with ExitStack() as cleanup:
        home = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="flytewheel-bench-")))
        home.chmod(0o711)
        data_dir = places.choose_place(home, places.unprivileged_account())
        cleanup.callback(places.remove_place, home)
        server, port = postgres.start(data_dir, password=_PASSWORD, log=home / "postgres.log", durable=False)
        cleanup.callback(postgres.stop, server)
        url = postgres.server_url(port, _PASSWORD, postgres.DATABASE)
        migrate(url)
        FeedbackStore(url).import_files(*logs, source=recipe.sources[0], quarantine_dir=home / "quarantine")
        closing = close_window(url, recipe.name, recipe.sources)
        assert closing.window is not None
        write_window(url, closing.window, home / "window", limit=recipe.curation.max_interactions)
        rules = Rules(
            recipe.feedback, locate_cases(recipe.curation), recipe.base, TokenCounter(recipe.base), rewards.score
        )
        build_dataset(home / "window", out, rules=rules, rlhf=recipe.rlhf, seed=recipe.seed)
    return out


def main() -> None:
    """Writes the data set and says what it holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = build_demo_dataset(parser.parse_args().folder)
    print((folder / "README.md").read_text(encoding="utf-8")[:3000] if (folder / "README.md").is_file() else folder)


if __name__ == "__main__":
    main()
