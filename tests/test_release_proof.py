"""What proves a registered version: its signature, its card and bill of materials; and what must never be in it."""

from __future__ import annotations

import dataclasses
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from flytewheel import release, turn
from flytewheel.cli import main
from flytewheel.dataset.card import DatasetCard, Step
from flytewheel.errors import RegistryError, SigningError
from flytewheel.evaluation import gate as gating
from flytewheel.evaluation.bootstrap import Comparison
from flytewheel.evaluation.report import Evaluation
from flytewheel.export.export import export_model
from flytewheel.local.services import Services
from flytewheel.recipe import BaseModelSpec, ExportSpec, GateSpec
from flytewheel.records import Interval, Message, build_prompt, to_jsonable
from flytewheel.signed_registry import open_registry
from flytewheel.signing_keys import make_home_key, revoke_key
from registry.slips import read_slip, write_slip
from registry.store import ObjectStore
from registry.versions import Registry
from tests.releases import LORA, NOW, REPORTS, judge_run, place_services, register, write_export
from tests.tiny_model import build_tiny_model

POCKET = BaseModelSpec(model="pocket")
MARK = "xylophonist-zanzibar"  # stands for anything that a user wrote


@pytest.fixture
def here(
    database_url: str, store: ObjectStore, services: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Services:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    return place_services(database_url, store.bucket, services, tmp_path / "home")


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    return write_export(tmp_path / "exported")


def call(home: Path, *arguments: str | Path, **environ: str) -> Result:
    return CliRunner(env={"FLYTEWHEEL_HOME": str(home), **environ}).invoke(main, ["models", *map(str, arguments)])


def one_line(result: Result) -> str:
    assert result.exit_code == 1, result.output
    (line,) = result.stderr.splitlines()
    return line


def test_a_downloaded_version_proves_itself_without_any_service(here: Services, exported: Path, tmp_path: Path) -> None:
    version, _ = register(here, judge_run(here), exported)
    folder = tmp_path / "got"
    open_registry(here).download("oncall", version, folder)
    # another machine, with nothing but the public key
    trusted = str(here.home / "keys" / "trusted")
    there = {"FLYTEWHEEL_TRUSTED_KEYS": trusted, "FLYTEWHEEL_S3_URL": "http://127.0.0.1:9"}
    right = call(tmp_path / "elsewhere", "verify", "--folder", folder, **there)
    assert right.exit_code == 0, right.stderr
    assert right.stdout.splitlines()[-1] == f"{folder}: oncall {version}, whole, and signed"
    told = json.loads(call(tmp_path / "elsewhere", "verify", "--folder", folder, "--json", **there).stdout)
    assert {file["path"] for file in told["files"]} >= {"README.md", "bom.cdx.json", "adapter/adapter_config.json"}

    (folder / "adapter" / "adapter_config.json").write_text('{"r": 1}')
    (folder / "model-Q8_0.gguf").unlink()
    (folder / "more.py").write_text("")
    wrong = call(tmp_path / "elsewhere", "verify", "--folder", folder, **there)
    assert wrong.exit_code == 1
    assert {" ".join(line.split()) for line in wrong.stdout.splitlines()} >= {
        "adapter/adapter_config.json changed",
        "model-Q8_0.gguf missing",
        "more.py extra",
        f"{folder}: oncall {version}, 3 of 6 files are not as they were signed",
    }
    stranger = call(tmp_path / "elsewhere", "verify", "--folder", folder)
    assert "which is not trusted here (trusted: none)" in one_line(stranger)
    assert call(tmp_path, "verify", "oncall", "--folder", folder).exit_code == 2


def test_a_repeated_registration_gives_the_same_card_and_bill(here: Services, exported: Path) -> None:
    """The pointer is taken away, as a kill before the commit would have left it, and the run registers once more."""
    run = judge_run(here)
    version, _ = register(here, run, exported)
    registry = open_registry(here)
    before = registry.show("oncall", version)
    turn.open_store(here).delete(f"versions/oncall/{version}")
    assert register(here, run, exported)[0] == version
    assert registry.show("oncall", version) == before


def test_a_version_from_before_there_were_keys_is_not_served_until_it_is_signed(
    here: Services, exported: Path, store: ObjectStore, tmp_path: Path
) -> None:
    files = release.list_files(exported / "candidate")
    made = Registry(store).register("oncall", files, facts={"serve": "model-Q8_0.gguf"}, key="old", now=NOW)
    registry = open_registry(here)
    for read in (
        lambda: release.fetch_adapter(here, "oncall", made.version, tmp_path / "got", base=POCKET),
        lambda: registry.download("oncall", made.version, tmp_path / "got"),
        lambda: registry.set_alias("oncall", "champion", made.version),
    ):
        with pytest.raises(SigningError) as caught:
            read()
        assert str(caught.value) == (
            f"oncall {made.version} is not signed, so it is not served: if you know where it comes from, sign it with "
            f"`flytewheel models sign oncall {made.version}`"
        )
    assert not (tmp_path / "got").exists()
    assert registry.sign("oncall", made.version) == made
    assert release.fetch_adapter(here, "oncall", made.version, tmp_path / "got", base=POCKET)

    old = here.key_ring.read_signing_key().public
    make_home_key(here.key_ring)
    registry.show("oncall", made.version)  # the old key is trusted on
    registry.sign("oncall", made.version)
    revoke_key(here.key_ring, old.key_id)
    registry.show("oncall", made.version)  # the new one has signed it too


def test_all_versions_from_before_there_were_keys_are_signed_at_once(
    here: Services, exported: Path, store: ObjectStore
) -> None:
    files = release.list_files(exported / "base")
    old = [Registry(store).register("oncall", files, facts={}, key=f"{n}", now=NOW).version for n in range(3)]
    open_registry(here).sign("oncall", old[1])
    environ = {key: value for key, value in here.environ().items() if key != "FLYTEWHEEL_ROUTER_URL"}
    assert call(here.home, "sign", "oncall", **environ).exit_code == 2
    told = json.loads(call(here.home, "sign", "oncall", "--unsigned", "--json", **environ).stdout)
    assert [one["version"] for one in told] == [old[0], old[2]]
    assert [manifest.version for manifest in open_registry(here).list("oncall")] == old
    again = call(here.home, "sign", "oncall", "--unsigned", **environ)
    assert again.stdout == "every version of oncall has a signature\n"
    one = call(here.home, "sign", "oncall", old[0], **environ)
    assert one.stdout == f"oncall {old[0]} is signed with {here.key_ring.read_signing_key().public.short}\n"


def test_only_whole_versions_are_signed(here: Services, exported: Path, store: ObjectStore) -> None:
    made = Registry(store).register("oncall", release.list_files(exported / "base"), facts={}, key="old", now=NOW)
    store.put_bytes(f"blobs/sha256/{made.files['model-Q8_0.gguf'].sha256}", b"other")
    with pytest.raises(RegistryError, match=r"model-Q8_0\.gguf is corrupt; restore it, then sign"):
        open_registry(here).sign("oncall", made.version)
    assert store.list("signatures/") == []


def test_a_run_without_a_key_registers_nothing(here: Services, exported: Path, store: ObjectStore) -> None:
    (here.home / "keys" / "signing.pem").unlink()
    with pytest.raises(SigningError, match="holds no key to sign with; make one with `flytewheel keys signing new`"):
        register(here, judge_run(here), exported)
    assert store.list("versions/") == []


def test_another_manifest_or_another_versions_signature_is_refused(
    here: Services, exported: Path, store: ObjectStore
) -> None:
    candidate, base = register(here, judge_run(here), exported)
    registry = open_registry(here)
    one, other = registry.show("oncall", candidate), registry.show("oncall", base)
    store.put_bytes(f"signatures/{one.digest}.json", store.get_bytes(f"signatures/{other.digest}.json"))
    with pytest.raises(SigningError, match="is not for this version"):
        registry.show("oncall", candidate)

    kinder = other.model_copy(update={"facts": {**other.facts, "verdict": "promote_to_canary"}})
    store.put_bytes(f"manifests/{kinder.digest}.json", kinder.to_bytes())
    place = f"versions/oncall/{base}"
    pointer = read_slip(place, store.get_bytes(place)) | {"manifest": kinder.digest}
    store.put_bytes(place, write_slip(place, pointer))
    with pytest.raises(SigningError, match="is not signed"):
        registry.show("oncall", base)
    store.put_bytes(f"signatures/{kinder.digest}.json", store.get_bytes(f"signatures/{other.digest}.json"))
    with pytest.raises(SigningError, match=r"is not for this version .*provenance\.json"):
        registry.show("oncall", base)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("adapter/adapter_model.safetensors", pickle.dumps({"w": 1}), "is a pickle (protocol 4), not safetensors"),
        ("adapter/adapter_model.safetensors", LORA[:-1], "is not safetensors"),
        ("model-Q8_0.gguf", pickle.dumps([1]), "is a pickle (protocol 4)"),
        ("README.md", pickle.dumps([1]), "is a pickle (protocol 4)"),
    ],
)
def test_a_pickle_by_another_name_neither_comes_in_nor_goes_out(
    here: Services, exported: Path, store: ObjectStore, tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    (exported / "candidate" / name).write_bytes(content)
    files = release.list_files(exported / "candidate")
    registry = open_registry(here)
    with pytest.raises(RegistryError) as caught:
        registry.register("oncall", files, facts={}, key="k", now=NOW)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert store.list("versions/") == store.list("blobs/") == []
    # an older flytewheel let it in, and signed it
    version = Registry(store, seal=here.key_ring.open_seal()).register(
        "oncall", files, facts={}, key="k", now=NOW
    ).version  # fmt: skip
    with pytest.raises(RegistryError) as caught:
        registry.download("oncall", version, tmp_path / "got", only=[name])
    assert says in str(caught.value)
    assert not [path for path in (tmp_path / "got").rglob("*") if path.is_file()]


# -- no word of any user


def interval(value: float) -> Interval:
    return Interval(value, value - 0.1, value + 0.1)


def marked_reports() -> dict[str, dict[str, Any]]:
    """Reports as the stations write them, with a user's words wherever a report may hold some."""
    line = {
        "topic": MARK, "figure": "rouge_l", "candidate": 0.1, "champion": 0.9, "rows": 9, "users": 9,
        "difference": to_jsonable(interval(-0.8)), "verdict": "worse",
    }  # fmt: skip
    rows = [line, {**line, "figure": "bleu", "verdict": "better"}, *({**line, "figure": f"f{n}"} for n in range(9))]
    evaluation = Evaluation(
        metrics={"perplexity": Comparison(interval(1.1), interval(1.2), interval(-0.1), 90, 9)},
        details={
            "topics": {"rows": rows, "too_few": [MARK], "least_users": 6, "margin": 0.05},
            "suite": {"cases": [{"id": "c", "prompt": MARK}]},
            "samples": [{"prompt": MARK, "candidate": MARK}],
        },
        dataset="d" * 64,
        device="cpu",
        candidate="e" * 64,
    )
    verdict = gating.decide(evaluation, GateSpec())
    assert MARK in "".join(verdict.reasons)  # the run's own report names topics, and may: it can be erased
    card = DatasetCard(
        "d" * 64, "c" * 64, ("oncall",), 90, 90,
        (Step("screen", 2, 1, dropped={"toxic": 1}, examples={"toxic": [MARK]}),),
        {"sft": {"train": 70}}, {"train": 9}, {MARK: 70},
        topics_before={MARK: 90}, topics_after={MARK: 70}, comments={"themes": [{"theme": MARK, "example": MARK}]},
        pairs={"examples": [MARK]},
    )  # fmt: skip
    figures = {
        "method": "sft",
        "reason": "as the recipe says",
        "rows": 70,
        "steps": 3,
        "held_out": {"examples": [MARK]},
    }
    return {
        **REPORTS,
        "curate": turn.describe_card(card, replay=""),
        "train_sft": {**figures, "curve": [{"step": 1, "loss": 1.0}], "packages": {"torch": "2.13.0"}},
        "evaluate": {**to_jsonable(evaluation), "judged_against": "base"},
        "gate": to_jsonable(verdict) | {"candidate": evaluation.candidate},
    }


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # by peft
def test_no_word_of_the_prompts_that_an_export_was_tried_on_is_in_its_files(tmp_path: Path) -> None:
    base = BaseModelSpec(model=str(build_tiny_model(tmp_path / "base")))
    asked = [
        (*build_prompt(f"{MARK} {number}?"), Message(role="assistant", content=f"Ask {MARK}.")) for number in range(3)
    ]
    spec = ExportSpec(quantizations=("Q8_0",), parity_prompts=3, parity_tokens=4)
    export_model(tmp_path / "out", base=base, adapter=None, export=spec, prompts=asked, seed=1)
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"parity.json", "export.json", "Modelfile", "model-Q8_0.gguf"}
    assert [path.name for path in files if b"xylo" in path.read_bytes().lower()] == []


def test_no_word_of_a_user_is_in_a_registered_version(here: Services, exported: Path, store: ObjectStore) -> None:
    """All that the registration wrote is read: manifests, signatures, cards, bills, logs."""
    version, _ = register(here, judge_run(here, reports=marked_reports()), exported)
    kept = {key: store.get_bytes(key) for key in store.list("")}
    assert len(kept) > 10
    assert [key for key, data in kept.items() if MARK.encode() in data or b"xylo" in data.lower()] == []
    facts = open_registry(here).show("oncall", version).facts
    assert "against: worse on 10 figures of topics (the run's report names them)" in facts["reasons"]
    assert "for: better on 1 figure of topics (the run's report names them)" in facts["reasons"]
    assert facts["dataset"]["counts"] == {"sft": {"train": 70}}
    assert facts["packages"] == {"torch": "2.13.0"}
    assert facts["evaluation"]["perplexity"]["candidate"] == dataclasses.asdict(interval(1.1))
    environ = {key: value for key, value in here.environ().items() if key != "FLYTEWHEEL_ROUTER_URL"}
    card = call(here.home, "card", "oncall", version, **environ).stdout
    assert "# oncall v1.202647.1" in card
    bom = json.loads(call(here.home, "bom", "oncall", version, **environ).stdout)
    assert bom["bomFormat"] == "CycloneDX"
