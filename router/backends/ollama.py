"""A version served by an Ollama server: made there from the version's own files, under a name of ours.

Models stay in Ollama when nobody needs them any more, only out of its memory: a rollback wants them again, and their
gigabytes need not be sent twice. `ollama rm flytewheel/NAME:VERSION` frees the disk.

Ollama puts a chat template around `/v1/completions`, where other servers take the prompt as it stands: that path is not
asked here, `/api/generate` with `raw` is.
"""

from __future__ import annotations

from collections.abc import Callable

from flytewheel.errors import RouterError
from flytewheel.ollama import Ollama, create_model
from flytewheel.sending import read_beside
from router.backends.remote import RemoteHost
from router.backends.served import ServedModel
from router.paths import CHAT, EMBEDDINGS, OLLAMA_CHAT, OLLAMA_EMBED, OLLAMA_EMBEDDINGS, OLLAMA_GENERATE


class OllamaHost(RemoteHost[Ollama]):
    """One version in an Ollama server."""

    endpoints = (CHAT, EMBEDDINGS, OLLAMA_CHAT, OLLAMA_GENERATE, OLLAMA_EMBED, OLLAMA_EMBEDDINGS)

    def __init__(
        self, model: ServedModel, open_server: Callable[[float], Ollama], *, allow: tuple[str, ...] = ()
    ) -> None:
        super().__init__(model, open_server, allow=allow)
        self.alias = f"flytewheel/{model.name}:{model.version}"

    def _bring(self, server: Ollama) -> None:
        model = self.model
        if model.file is None:
            raise RouterError(
                f"{model.name} {model.version} has no file to give to Ollama; export and register it again"
            )
        modelfile = read_beside(model.folder, model.file.relative_to(model.folder).as_posix())
        create_model(server, model.folder, self.alias, modelfile=modelfile, known=model.digests)
        server.load(self.alias)

    def _is_there(self, server: Ollama) -> bool:
        return self.alias in server.list_models()

    def _leave(self, server: Ollama) -> None:
        server.unload(self.alias)
