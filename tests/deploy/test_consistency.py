"""What deploy/ and the workflows say exists in the code: settings, options, ports, probes, commands, secrets."""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from deploy import model, smoke, surge
from flytewheel.cli import main
from flytewheel.local import objects
from flytewheel.local.stack import AFTER_ANSWERS_S
from flytewheel.settings import PREFIX, Settings, read_settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
BASE = DEPLOY / "kubernetes" / "base"
OVERLAYS = sorted((DEPLOY / "kubernetes" / "overlays").iterdir())
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yaml"))
PORT = 8080


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def list_manifests() -> list[dict[str, Any]]:
    kustomization = read(BASE / "kustomization.yaml")
    paths = [BASE / name for name in kustomization["resources"]]
    assert {path.name for path in paths} | {"kustomization.yaml"} == {path.name for path in BASE.iterdir()}
    return [each for path in paths for each in yaml.safe_load_all(path.read_text(encoding="utf-8"))]


MANIFESTS = list_manifests()
COMPOSE = read(DEPLOY / "compose.yaml")


def find(kind: str, name: str) -> dict[str, Any]:
    (found,) = (each for each in MANIFESTS if (each["kind"], each["metadata"]["name"]) == (kind, name))
    return found


def list_literals() -> dict[str, str]:
    (generated,) = read(BASE / "kustomization.yaml")["configMapGenerator"]
    return dict(each.split("=", 1) for each in generated["literals"])


def list_pods() -> list[dict[str, Any]]:
    return [each["spec"]["template"]["spec"] for each in MANIFESTS if each["kind"] in ("Deployment", "Job")]


def list_variables() -> Iterator[tuple[str, str]]:
    """Each setting that something is given, with where."""
    for name, service in COMPOSE["services"].items():
        for key in service.get("environment", {}):
            if key.startswith(PREFIX):
                yield f"compose.yaml, {name}", key
    for key in list_literals():
        yield "kustomization.yaml", key
    for overlay in OVERLAYS:
        for generated in read(overlay / "kustomization.yaml")["configMapGenerator"]:
            yield from ((overlay.name, each.split("=", 1)[0]) for each in generated["literals"])
    for pod in list_pods():
        for container in pod["containers"]:
            yield from ((container["name"], each["name"]) for each in container.get("env", ()))
    for key in re.findall(r"\b(FLYTEWHEEL_\w+)=", (DEPLOY / "Dockerfile").read_text(encoding="utf-8")):
        yield "Dockerfile", key


def test_every_setting_that_is_given_is_known() -> None:
    given = list(list_variables())
    assert len(given) > 25
    for where, key in given:
        name = key.removeprefix(PREFIX).lower()
        assert name in Settings.model_fields or name.removesuffix("_file") in Settings.model_fields, f"{where}: {key}"


def test_routers_start_with_the_settings_that_they_are_given(tmp_path: Path) -> None:
    """As their containers do, with files in the places of the mounts."""
    secrets = tmp_path / "secrets"
    subprocess.run(["sh", str(DEPLOY / "secrets.sh"), str(secrets)], check=True, capture_output=True)
    before = {path.name: path.read_bytes() for path in secrets.iterdir() if path.is_file()}
    subprocess.run(["sh", str(DEPLOY / "secrets.sh"), str(secrets)], check=True, capture_output=True)
    assert {path.name: path.read_bytes() for path in secrets.iterdir() if path.is_file()} == before
    assert {Path(each["file"]).name for each in COMPOSE["secrets"].values()} == set(before)
    assert (secrets.stat().st_mode & 0o077, (secrets / "trusted").is_dir()) == (0, True)
    for given in (COMPOSE["services"]["router"]["environment"], {**list_literals(), "FLYTEWHEEL_S3_URL": "https://s"}):
        spelled = {
            key: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value).replace("/run/secrets/flytewheel", "/run/secrets")
            for key, value in given.items()
        }
        settings = read_settings({key: value.replace("/run/secrets", str(secrets)) for key, value in spelled.items()})
        assert settings.admin_key is not None
        assert settings.database_url is not None
        assert settings.database_url.startswith("postgresql://flytewheel:")
        assert {each for each in spelled if each.endswith("_FILE")} >= {f"{PREFIX}ASSIGNMENT_KEY_FILE"}
        assert settings.trusted_keys == "/run/trusted"


def test_secrets_that_are_mounted_are_made_and_those_that_are_read_are_mounted() -> None:
    for name, service in COMPOSE["services"].items():
        read_files = {
            Path(value).name
            for key, value in service.get("environment", {}).items()
            if key.endswith(("_FILE", "__FILE"))
        }
        mounted = set(service.get("secrets", ()))
        assert read_files <= mounted, name
        assert mounted <= set(COMPOSE["secrets"]), name
    prometheus = read(DEPLOY / "prometheus" / "prometheus.yaml")
    (job,) = prometheus["scrape_configs"]
    assert Path(job["authorization"]["credentials_file"]).name in COMPOSE["services"]["prometheus"]["secrets"]
    made = set(re.findall(r'"([a-z0-9_]+)"', (DEPLOY / "terraform" / "secrets.tf").read_text(encoding="utf-8")))
    files = {Path(value).name for key, value in list_literals().items() if key.endswith("_FILE")}
    assert files - {"database_url"} <= made  # that one is put together from Terraform's outputs


def test_the_router_is_started_with_options_that_it_has(capsys: pytest.CaptureFixture[str]) -> None:
    from router.__main__ import main as router

    command = re.search(r"^CMD (\[.*\])$", (DEPLOY / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert command is not None
    (container,) = find("Deployment", "flytewheel-router")["spec"]["template"]["spec"]["containers"]
    for arguments in (yaml.safe_load(command[1]), container["args"]):
        assert arguments[arguments.index("--port") + 1] == str(PORT)
        with pytest.raises(SystemExit) as ended:
            router([*arguments, "--help"])  # every option before it was known
        assert ended.value.code == 0
        with pytest.raises(SystemExit):
            router([*arguments, "--nonsense"])
        capsys.readouterr()


def test_ports_are_one_everywhere() -> None:
    (container,) = find("Deployment", "flytewheel-router")["spec"]["template"]["spec"]["containers"]
    assert container["ports"] == [{"name": "http", "containerPort": PORT}]
    service = find("Service", "flytewheel-router")
    assert service["spec"]["ports"][0]["targetPort"] == "http"
    assert service["metadata"]["annotations"]["prometheus.io/port"] == str(PORT)
    policy = find("NetworkPolicy", "flytewheel-router")
    assert policy["spec"]["ingress"][0]["ports"] == [{"protocol": "TCP", "port": PORT}]
    dockerfile = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    assert f"EXPOSE {PORT}\n" in dockerfile
    assert f"http://127.0.0.1:{PORT}/healthz" in dockerfile
    assert COMPOSE["services"]["router"]["ports"] == [f"127.0.0.1:${{FLYTEWHEEL_PORT:-{PORT}}}:{PORT}"]
    (job,) = read(DEPLOY / "prometheus" / "prometheus.yaml")["scrape_configs"]
    assert job["static_configs"] == [{"targets": [f"router:{PORT}"]}]
    assert "router" in COMPOSE["services"]
    source = read(DEPLOY / "prometheus" / "grafana-datasource.yaml")["datasources"][0]
    assert source["url"] == "http://prometheus:9090"


def test_probes_and_scrapes_ask_paths_that_the_router_has() -> None:
    from router.keeper.health import health
    from router.scraping import scraping

    known = {route.path for each in (health, scraping) for route in each.routes}  # type: ignore[attr-defined]
    (container,) = find("Deployment", "flytewheel-router")["spec"]["template"]["spec"]["containers"]
    asked = {kind: container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")}
    assert asked == {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}
    (job,) = read(DEPLOY / "prometheus" / "prometheus.yaml")["scrape_configs"]
    assert {*asked.values(), job["metrics_path"]} <= known


def test_a_pod_is_given_the_time_that_its_router_needs_to_end() -> None:
    pod = find("Deployment", "flytewheel-router")["spec"]["template"]["spec"]
    given = list_literals()
    needed = float(given["FLYTEWHEEL_DRAIN_S"]) + float(given["FLYTEWHEEL_DRAIN_NOTICE_S"]) + AFTER_ANSWERS_S
    needed += pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert needed < pod["terminationGracePeriodSeconds"] <= needed + 30
    probe = pod["containers"][0]["readinessProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] <= float(given["FLYTEWHEEL_DRAIN_NOTICE_S"])
    router = COMPOSE["services"]["router"]
    needed = float(router["environment"]["FLYTEWHEEL_DRAIN_S"]) + AFTER_ANSWERS_S
    needed += float(router["environment"]["FLYTEWHEEL_DRAIN_NOTICE_S"])
    assert needed < float(router["stop_grace_period"].removesuffix("s"))


def test_the_store_of_compose_is_run_as_the_embedded_one() -> None:
    store = COMPOSE["services"]["store"]
    ours = objects._environ(Path("/var/lib/flytewheel"))
    for key, value in store["environment"].items():
        assert ours[key] == value, key
    assert {key for key in ours if key.isupper() and key.startswith(("S3_", "STATE", "PERSIST", "IOT", "SFTP"))} <= set(
        store["environment"]
    )
    assert "ports" not in store  # it takes any key
    assert store["networks"] == ["inner"]
    assert COMPOSE["networks"]["inner"] == {"internal": True}


def test_every_pod_and_service_is_hardened() -> None:
    for pod in list_pods():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] >= 10000
        assert pod["automountServiceAccountToken"] is False
        mounted = {each["name"] for each in pod["volumes"]}
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert set(container["resources"]) == {"requests", "limits"}
            assert {each["name"] for each in container["volumeMounts"]} <= mounted
    assert "USER 10001:10001" in (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    for name, service in COMPOSE["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["user"].split(":")[0] not in ("", "0", "root"), name
        assert "healthcheck" in service or service["image"].startswith("flytewheel-service"), name  # the image has one
        assert not re.search(r":latest$|^[^:]+$", service["image"]), name
        assert not any(key.lower().endswith(("password", "secret_key")) for key in service.get("environment", {})), name


def test_labels_meet_their_selectors() -> None:
    pods = {each["metadata"]["name"]: each["spec"]["template"]["metadata"]["labels"] for each in MANIFESTS
            if each["kind"] in ("Deployment", "Job")}  # fmt: skip
    for each in MANIFESTS:
        spec = each.get("spec", {})
        selector = spec.get("podSelector", spec.get("selector"))
        wanted = (selector or {}).get("matchLabels", selector) if each["kind"] != "Job" else None
        if wanted:
            assert any(wanted.items() <= labels.items() for labels in pods.values()), each["metadata"]["name"]
    assert find("HorizontalPodAutoscaler", "flytewheel-router")["spec"]["scaleTargetRef"]["name"] in pods


@pytest.mark.parametrize("overlay", OVERLAYS, ids=[path.name for path in OVERLAYS])
def test_overlays_change_what_is_there(overlay: Path) -> None:
    told = read(overlay / "kustomization.yaml")
    assert [(overlay / each).resolve() for each in told["resources"]] == [BASE]
    images = {container["image"] for pod in list_pods() for container in pod["containers"]}
    assert {each["name"] for each in told["images"]} == images
    assert all(each["newTag"] not in ("", "latest") for each in told["images"])
    for patch in told["patches"]:
        target = find(patch["target"]["kind"], patch["target"]["name"])
        for change in yaml.safe_load(patch["patch"]):
            place: Any = target
            for step in change["path"].strip("/").split("/"):
                place = place[int(step) if isinstance(place, list) else step]
            assert type(place) is type(change["value"]), change
    for generated in told["configMapGenerator"]:
        assert generated["name"] == "flytewheel"
        assert generated["behavior"] == "merge"


def list_steps(path: Path) -> Iterator[str]:
    for job in read(path)["jobs"].values():
        for step in job["steps"]:
            if "run" in step:
                yield step["run"].replace("\\\n", " ")


@pytest.mark.parametrize("path", WORKFLOWS, ids=[path.stem for path in WORKFLOWS])
def test_workflows_run_what_there_is(path: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    found = 0
    for text in list_steps(path):
        for line in text.splitlines():
            words = shlex.split(line.split("|")[0])
            if words[:1] == ["make"]:
                for target in words[1:]:
                    known = re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE)
                    assert known or target == ".venv/.installed", target
                    found += 1
            if words[:1] == ["python"]:
                script = {"deploy/smoke.py": smoke, "deploy/model.py": model, "deploy/surge.py": surge}[words[1]]
                check_options(script.main, words[2:])
                found += 1
            if "-m" in words:
                name = words[words.index("-m") + 1]
                assert (ROOT / name.replace(".", "/") / "__main__.py").exists()
                source = (ROOT / name.replace(".", "/") / "__main__.py").read_text(encoding="utf-8")
                for option in re.findall(r"--(\w+)", line):
                    assert option in ("json", "quick") or f'"{option}"' in source, option
                found += 1
    assert found
    told = read(path)
    assert told["permissions"] == {"contents": "read"}
    for job in told["jobs"].values():
        assert job["timeout-minutes"] <= 180
        for step in job["steps"]:
            assert "${{ inputs" not in step.get("run", ""), "what somebody types would be run"
            assert re.search(r"@v\d+$|^$", step.get("uses", "")), step


def check_options(command: Any, arguments: list[str]) -> None:
    """Parses a command line and does nothing."""

    class ParsedError(Exception):
        pass

    def stop(parser: argparse.ArgumentParser, given: Any = None) -> None:
        argparse.ArgumentParser.parse_args = original  # type: ignore[method-assign]
        original(parser, [re.sub(r"^\$SHARE$", "0.1", each) for each in given])
        raise ParsedError

    original = argparse.ArgumentParser.parse_args
    argparse.ArgumentParser.parse_args = stop  # type: ignore[method-assign,assignment]
    try:
        with pytest.raises(ParsedError):
            command(arguments)
    finally:
        argparse.ArgumentParser.parse_args = original  # type: ignore[method-assign]


def test_the_deployment_by_hand_asks_for_version_and_share() -> None:
    told = read(ROOT / ".github" / "workflows" / "deploy_model.yaml")
    inputs = told[True]["workflow_dispatch"]["inputs"]  # YAML's `on` is true
    assert {"model_version", "traffic_split"} <= set(inputs)
    assert inputs["environment"]["options"] == ["development", "staging", "production"]
    assert {path.name for path in OVERLAYS} == set(inputs["environment"]["options"])


def test_commands_that_are_written_down_exist() -> None:
    paths = [path for path in DEPLOY.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    text = "\n".join(path.read_text(encoding="utf-8") for path in paths)
    form = r"(?:flytewheel|flytewheel router) ((?:keys|models|experiments|migrate|backup|restore)(?: [a-z]+)*)"
    asked = set(re.findall(form, text))
    assert asked
    for words in asked:
        command: Any = main
        for word in words.split():
            if not isinstance(command, click.Group):
                break
            command = command.commands[word]
    for pod in list_pods():
        for container in pod["containers"]:
            if "command" in container:
                assert container["command"][0] == "flytewheel"
                assert container["command"][1] in main.commands
    assert COMPOSE["services"]["migrate"]["command"] == ["migrate"]
