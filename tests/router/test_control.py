from __future__ import annotations

import shutil
from pathlib import Path

import httpx
import numpy as np
import pytest
from gguf import GGUFWriter

from flytewheel.errors import RouterError
from flytewheel.experiment.launch import launch_canary, set_champion
from tests.ports import free_port
from tests.router.live import ADMIN_KEY, LiveRouter, wait_until


@pytest.mark.parametrize(
    "headers", [{}, {"authorization": "Bearer wrong"}, {"authorization": ADMIN_KEY}, {"authorization": "Basic é"}]
)
def test_control_needs_a_key(router: LiveRouter, headers: dict[str, str]) -> None:
    sent = {key: value.encode("latin-1") for key, value in headers.items()}
    for method, path in (
        ("GET", "/models"),
        ("GET", "/experiments"),
        ("POST", "/experiments"),
        ("PUT", "/models/x/champion"),
    ):
        answer = httpx.request(method, router.url + path, headers=sent, json={})
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "invalid_api_key"
        assert answer.headers["www-authenticate"] == "Bearer"


def test_champions_are_listed_and_loaded(router: LiveRouter) -> None:
    version = router.serve("crowned", "stable")
    assert "flytewheel/crowned" in {model["id"] for model in router.get("/v1/models").json()["data"]}
    backend = router.backend("crowned", version)
    assert backend is not None
    assert backend["state"] == "ready"
    second = router.register("crowned", "better"[:3])
    answer = router.send("PUT", "/models/crowned/champion", {"version": second, "expect": second})
    assert answer.status_code == 404
    assert "not v1" in answer.json()["error"]["message"]
    answer = router.send("PUT", "/models/crowned/champion", {"version": second, "expect": version})
    assert answer.json() == {"name": "crowned", "champion": second, "before": version}
    assert router.ask("crowned").json()["choices"][0]["message"]["content"] == "bet"
    third = router.register("crowned", "third")
    assert router.send("PUT", "/models/crowned/champion", {"version": third}).status_code == 200
    wait_until(lambda: router.backend("crowned", version) is None, what="the champion before the last one is unloaded")
    spare = router.backend("crowned", second)
    assert spare is not None  # the last one stays, so that a rollback need not wait
    assert (spare["state"], spare["breaker"], spare["warm_s"] > 0) == ("ready", "closed", True)


def test_a_launch_is_idempotent_and_superseded_by_another(router: LiveRouter) -> None:
    control, first, second = (
        router.serve("launched", "stable"),
        router.register("launched", "candy"),
        router.register("launched", "bright"),
    )
    launch = {"name": "launched", "control": control, "share": 0.1, "body": {"primary_metric": "thumbs_up_rate"}}

    def ask(treatment: str, key: str) -> tuple[str, bool, str | None]:
        launched = launch_canary(router.url, ADMIN_KEY, treatment=treatment, launch_key=key, **launch)  # type: ignore[arg-type]
        return launched.experiment_id, launched.created, launched.superseded

    one, created, superseded = ask(first, "launched-1")
    assert (created, superseded) == (True, None)
    assert ask(first, "launched-1") == (one, False, None)
    two, created, superseded = ask(second, "launched-2")
    assert (created, superseded) == (True, one)
    stopped = router.send("GET", f"/experiments/{one}").json()["experiment"]
    assert (stopped["state"], stopped["reason"]) == ("stopped", f"superseded by {second}")
    running = router.send("GET", "/experiments", params={"name": "launched", "running": True}).json()["experiments"]
    assert [experiment["experiment_id"] for experiment in running] == [two]
    assert running[0]["body"] == {"primary_metric": "thumbs_up_rate"}
    wait_until(lambda: router.backend("launched", first) is None, what="the superseded candidate unloaded")
    with pytest.raises(RouterError, match="take another key"):
        ask(first, "launched-2")


def test_the_share_changes_and_a_stop_ends_it(router: LiveRouter) -> None:
    control, treatment = router.serve("shared", "stable"), router.register("shared", "candy")
    experiment = router.launch("shared", control, treatment, share=0.1).json()["experiment"]["experiment_id"]
    assert router.send("PATCH", f"/experiments/{experiment}", {"share": 1.0}).json()["experiment"]["share"] == 1.0
    assert router.ask("shared").headers["x-flytewheel-arm"] == "treatment"
    answer = router.send("POST", f"/experiments/{experiment}/stop", {"reason": "enough"})
    assert answer.json()["experiment"]["reason"] == "enough"
    assert router.ask("shared").headers["x-flytewheel-arm"] == "champion"
    assert router.send("PATCH", f"/experiments/{experiment}", {"share": 0.5}).status_code == 409


def test_a_promoted_treatment_ends_its_experiment(router: LiveRouter) -> None:
    control, treatment = router.serve("promoted", "stable"), router.register("promoted", "candy")
    experiment = router.launch("promoted", control, treatment, share=0.5).json()["experiment"]["experiment_id"]
    assert set_champion(router.url, ADMIN_KEY, name="promoted", version=treatment) == control
    assert router.rows("SELECT state FROM rollouts WHERE experiment_id = %s", experiment) == [("promoted",)]
    assert router.ask("promoted").headers["x-flytewheel-arm"] == "champion"


def test_nothing_is_opened_when_an_arm_cannot_be_loaded(router: LiveRouter, tmp_path: Path) -> None:
    control = router.serve("broken", "stable")
    junk = tmp_path / "junk.gguf"
    writer = GGUFWriter(str(junk), "no-such-architecture")  # whole, and not what llama.cpp loads
    writer.add_tensor("token_embd.weight", np.zeros((4, 4), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    treatment = router.register("broken", "junk", file=junk)
    answer = router.launch("broken", control, treatment, share=0.5)
    assert answer.status_code == 502
    assert "does not start" in answer.json()["error"]["message"]
    assert router.send("GET", "/experiments", params={"name": "broken"}).json() == {"experiments": []}
    assert router.ask("broken").headers["x-flytewheel-arm"] == "champion"
    assert router.launch("broken", control, "v1.202647.99", share=0.5).status_code == 404
    assert router.send("PUT", "/models/broken/champion", {"version": treatment}).status_code == 502
    assert router.registry.get_alias("broken", "champion") == control


def test_a_version_whose_bytes_changed_in_the_store_is_not_served(router: LiveRouter) -> None:
    control = router.serve("forged", "stable")
    treatment = router.register("forged", "candy")
    blob = router.registry.show("forged", treatment).files["model.gguf"].sha256
    router.store.put_bytes(f"blobs/sha256/{blob}", b"something else")
    answer = router.launch("forged", control, treatment, share=0.5)
    shutil.rmtree(router.home / "models" / "forged" / treatment, ignore_errors=True)
    router.store.delete(f"blobs/sha256/{blob}")
    assert answer.status_code == 404
    assert "corrupt" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"share": 0}, 422, "share"),
        ({"share": 1.5}, 422, "share"),
        ({"treatment": "same"}, 409, "both"),
        ({"control": "v1.202601.1"}, 409, "is not the champion"),
        ({"typo": 1}, 422, "typo"),
        ({"name": "nobody"}, 409, "none is set"),
    ],
)
def test_a_wrong_launch_is_refused_in_one_line(
    router: LiveRouter, change: dict[str, object], status: int, said: str
) -> None:
    control = router.registry.get_alias("refused", "champion") or router.serve("refused", "stable")
    body = {"name": "refused", "control": control, "treatment": "v1.202647.9", "share": 0.1, "launch_key": "refused"}
    body |= {key: control if value == "same" else value for key, value in change.items()}
    answer = router.send("POST", "/experiments", body)
    assert answer.status_code == status, answer.text
    assert said in answer.json()["error"]["message"]
    assert "\n" not in answer.json()["error"]["message"]


def test_an_unknown_experiment_is_said(router: LiveRouter) -> None:
    for method, path, body in (
        ("GET", "/experiments/exp-none", None),
        ("POST", "/experiments/exp-none/stop", {}),
        ("PATCH", "/experiments/exp-none", {"share": 0.5}),
    ):
        answer = router.send(method, path, body)
        assert answer.status_code == 409
        assert "exp-none" in answer.json()["error"]["message"]


def test_a_router_that_is_away_is_said_in_one_line() -> None:
    with pytest.raises(RouterError, match="does not answer") as caught:
        set_champion(f"http://127.0.0.1:{free_port()}", "key", name="x", version="v1.202647.1", timeout_s=2)
    assert "\n" not in str(caught.value)
