"""Loads and unloads LoRA adapters in a running vLLM, and names what it serves.

vLLM reads an adapter from a folder that *it* sees (`lora_path`), so the folder's path on its machine is what counts.
Its endpoints for that exist only where it was started with `VLLM_ALLOW_RUNTIME_LORA_UPDATING=True` and
`--enable-lora`; without them they are unknown paths. A name that is taken is refused with 400; newer servers replace
it in place if asked, which no request in flight notices, older ones do not know the field.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass

import httpx

from flytewheel.addresses import AddressRule
from flytewheel.errors import ModelServerError
from flytewheel.model_server import ModelServer, read_error


@dataclass(frozen=True, slots=True)
class VllmModel:
    """One name that vLLM answers to: the base (`parent` is None) or an adapter, and the path that it was read from."""

    name: str
    parent: str | None
    root: str | None


class Vllm(ModelServer):
    """One vLLM server; `url` ends before `/v1`."""

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        timeout_s: float = 600.0,
        rule: AddressRule | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(url, kind="vLLM", key=key, timeout_s=timeout_s, rule=rule, tls=tls)

    def list_models(self) -> list[VllmModel]:
        """What it answers to.

        Raises:
            ModelServerError: it is away, or is no vLLM.
        """
        data = self.read("/v1/models", self.ask("GET", "/v1/models")).get("data")
        if not isinstance(data, list):
            raise ModelServerError(f"what listens at {self.url} lists no models under /v1/models: that is no vLLM")
        return [
            VllmModel(str(model["id"]), model.get("parent"), model.get("root"))
            for model in data
            if isinstance(model, dict) and "id" in model
        ]

    def find_base(self) -> str:
        """The base model's own name.

        Raises:
            ModelServerError: it lists none.
        """
        for model in self.list_models():
            if model.parent is None:
                return model.name
        raise ModelServerError(f"vLLM at {self.url} lists no base model under /v1/models; look at its log")

    def load_adapter(self, name: str, path: str) -> None:
        """Has it answer to `name` with the adapter in `path`; nothing happens where it does already.

        Args:
            name: The adapter's name from now on; one of this name from another path is replaced.
            path: Of a PEFT folder, as vLLM's machine sees it.

        Raises:
            ModelServerError: it is away, cannot load adapters while it runs, does not see the folder, or refuses it.
        """
        known = next((model for model in self.list_models() if model.name == name), None)
        if known is not None and known.parent is None:
            raise ModelServerError(f"vLLM at {self.url} serves its base as {name}; give the adapter another name")
        if known is not None and known.root == path:
            return
        body = {"lora_name": name, "lora_path": path}
        answer = self.ask("POST", "/v1/load_lora_adapter", body)
        if answer.status_code == 400 and "already been loaded" in answer.text:
            answer = self.ask("POST", "/v1/load_lora_adapter", body | {"load_inplace": True})
            if answer.status_code in {400, 422}:  # an older one: it does not know the field
                self.unload_adapter(name)
                answer = self.ask("POST", "/v1/load_lora_adapter", body)
        if answer.status_code != 200:
            raise self._explain("/v1/load_lora_adapter", answer, path)
        if all(model.name != name for model in self.list_models()):
            raise ModelServerError(
                f"vLLM at {self.url} said that it loaded {name}, and does not list it; look at its log"
            )

    def unload_adapter(self, name: str) -> bool:
        """Has it forget an adapter; whether it knew one of that name.

        Raises:
            ModelServerError: it is away, or cannot unload while it runs.
        """
        answer = self.ask("POST", "/v1/unload_lora_adapter", {"lora_name": name})
        if answer.status_code == 404 and "cannot be found" in answer.text:
            return False
        if answer.status_code != 200:
            raise self._explain("/v1/unload_lora_adapter", answer, "")
        return True

    def _explain(self, what: str, answer: httpx.Response, path: str) -> ModelServerError:
        said = read_error(answer)
        if answer.status_code in {404, 405} and "adapter" not in said.lower():
            return ModelServerError(
                f"vLLM at {self.url} has no {what}; start it with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True and"
                " --enable-lora"
            )
        if answer.status_code == 404:
            return ModelServerError(
                f"vLLM at {self.url} sees no adapter in {path} ({said}); FLYTEWHEEL_BACKEND_FOLDER says where it sees"
                " our folder of models"
            )
        if "rank" in said.lower():
            return ModelServerError(f"vLLM at {self.url} refuses the adapter: {said}; start it with --max-lora-rank")
        return self.refused(what, answer)
