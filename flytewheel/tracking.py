"""One loop = one wandb group: a run for each station, all with one configuration, so that weeks compare side by side.

Without an account the runs are written to disk (`wandb leet DIR` shows them in a terminal, `wandb sync DIR` uploads
them later); `WANDB_MODE` decides otherwise, and `disabled` switches tracking off. A run is always closed, with exit
code 1 when the station failed: an open one would swallow the next station's figures.
"""

from __future__ import annotations

import logging
import netrc
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flytewheel.records import to_jsonable

_LOG = logging.getLogger(__name__)
MODES = ("online", "offline", "disabled")
_ALIASES = {"dryrun": "offline", "run": "online", "shared": "online"}
_INIT_TIMEOUT_S = 30.0
_STAGING = "WANDB_DATA_DIR"


def choose_mode(environ: Mapping[str, str] | None = None) -> str:
    """Chooses `online`, `offline` or `disabled`: `WANDB_MODE`, else online where an API key is found, else offline."""
    environ = os.environ if environ is None else environ
    asked = environ.get("WANDB_MODE", "").strip().lower()
    asked = _ALIASES.get(asked, asked)
    if asked in MODES:
        return asked
    if asked:
        _LOG.warning("WANDB_MODE=%r is none of %s: tracking offline", asked, ", ".join(MODES))
        return "offline"
    return "online" if environ.get("WANDB_API_KEY") or _has_netrc_key(environ) else "offline"


class Tracker:
    """The open wandb run of one station. Open it with `Tracker.open`."""

    def __init__(self, run: Any, prefix: str = "") -> None:
        self._run = run
        self._prefix = prefix

    @classmethod
    @contextmanager
    def open(
        cls,
        station: str,
        *,
        group: str,
        config: Mapping[str, Any],
        project: str,
        entity: str | None,
        directory: Path,
        model: str = "",
        mode: str | None = None,
    ) -> Iterator[Tracker]:
        """Opens the run of `station` and closes it, whatever happens inside.

        Args:
            station: Becomes the run's job type, and with the group its name.
            group: One for each turn of the loop.
            config: The whole recipe and the facts of the run: the same keys for every station.
            project: wandb project.
            entity: wandb entity (None: the account's default).
            directory: Run files go to `directory`/wandb.
            model: Name of the model that the loop trains; artifacts are named after it and the station.
            mode: `online`, `offline` or `disabled`; None: see `choose_mode`.
        """
        mode = mode or choose_mode()
        if mode == "disabled":
            yield cls(None)
            return
        run = _init(station, group, config, project, entity, directory, mode)
        failed = True
        try:
            yield cls(run, f"{model}-{station}" if model else station)
            failed = False
        finally:
            run.finish(exit_code=int(failed))

    def log(self, metrics: Mapping[str, Any], step: int) -> None:
        """Adds a point to each metric's curve at `step`."""
        if self._run is not None:
            self._run.log(dict(metrics), step=step)

    def summary(self, figures: Mapping[str, Any]) -> None:
        """Sets the run's final figures."""
        if self._run is not None:
            self._run.summary.update(to_jsonable(figures))

    def table(self, name: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Shows rows as a table of the run; `None` is an empty cell. One call a name.

        What wandb stages for the upload lies in the run's own folder too (see `artifact`).

        Args:
            name: Of the table, beside the run's figures.
            columns: Their names.
            rows: Plain values, a sequence a row. Nothing of people may be in them that is not redacted.
        """
        if self._run is None:
            return
        import wandb

        made = wandb.Table(columns=list(columns), data=[list(row) for row in rows], allow_mixed_types=True)
        with _staging_in(Path(self._run.dir).parent / "staging"):
            self._run.log({name: made})

    def artifact(self, kind: str, files: Mapping[str, str], facts: Mapping[str, Any]) -> None:
        """Keeps what the station made, as an artifact of the run: cards, digests and figures, not rows and not weights.

        The files lie in the run's own folder, not in the user's cache, so that an offline run is whole when it is
        copied or deleted; who uploads it later does so from where it was made (wandb notes their paths).

        Args:
            kind: Type of the artifact, and the end of its name.
            files: Texts by file name. Nothing of people may be in them that is not redacted.
            facts: What is shown beside it.
        """
        if self._run is None:
            return
        import wandb

        made = wandb.Artifact(f"{self._prefix}-{kind}", type=kind, metadata=to_jsonable(facts))
        folder = Path(self._run.dir).parent / "artifacts" / kind
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            path = folder / name
            path.write_text(text, encoding="utf-8")
            made.add_file(str(path), name=name, policy="immutable", skip_cache=True)
        self._run.log_artifact(made)


@contextmanager
def _staging_in(folder: Path) -> Iterator[None]:
    """Has wandb put files that wait for their upload into `folder`; it asks the environment where, each time."""
    before = os.environ.get(_STAGING)
    os.environ[_STAGING] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ[_STAGING]
        else:
            os.environ[_STAGING] = before


def _init(
    station: str, group: str, config: Mapping[str, Any], project: str, entity: str | None, directory: Path, mode: Any
) -> Any:
    import wandb

    directory.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {
        "project": project,
        "entity": entity,
        "group": group,
        "job_type": station,
        "name": f"{group}-{station}",
        "config": to_jsonable(config),
        "dir": str(directory),
        "reinit": "create_new",
        "settings": wandb.Settings(
            silent=True, console="off", disable_git=True, disable_code=True, disable_job_creation=True,
            x_disable_stats=True, init_timeout=_INIT_TIMEOUT_S,
        ),
    }  # fmt: skip
    try:
        return wandb.init(mode=mode, **options)
    except (wandb.errors.CommError, wandb.errors.AuthenticationError) as error:
        if mode != "online":
            raise
        _LOG.warning("wandb cannot be reached (%s): %s is tracked offline", " ".join(str(error).split()), station)
        return wandb.init(mode="offline", **options)


def _has_netrc_key(environ: Mapping[str, str]) -> bool:
    host = urlsplit(environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    path = Path(environ["NETRC"]) if environ.get("NETRC") else Path(environ.get("HOME", "~")).expanduser() / ".netrc"
    try:
        return path.is_file() and netrc.netrc(str(path)).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError) as error:
        _LOG.warning("%s cannot be read (%s): tracking offline", path, error)
        return False
