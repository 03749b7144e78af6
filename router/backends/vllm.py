"""A version served by a running vLLM: its adapter is loaded there under a name of ours; the bare base is there already.

vLLM reads the adapter from a folder that its own machine sees: `folders` says under which path ours appears there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath

from flytewheel.vllm import Vllm
from router.backends.remote import RemoteHost
from router.backends.served import ServedModel


class VllmHost(RemoteHost[Vllm]):
    """One version in a vLLM server; `folders` is our folder of models, and the path under which vLLM sees it."""

    def __init__(
        self,
        model: ServedModel,
        open_server: Callable[[float], Vllm],
        folders: tuple[Path, str],
        *,
        allow: tuple[str, ...] = (),
    ) -> None:
        super().__init__(model, open_server, allow=allow)
        self._folders = folders

    def _bring(self, server: Vllm) -> None:
        if self.model.file is None:
            self.alias = server.find_base()
            return
        ours, theirs = self._folders
        server.load_adapter(self.alias, str(PurePosixPath(theirs) / self.model.file.relative_to(ours).as_posix()))

    def _is_there(self, server: Vllm) -> bool:
        return any(model.name == self.alias for model in server.list_models())

    def _leave(self, server: Vllm) -> None:
        if self.model.file is not None:
            server.unload_adapter(self.alias)
