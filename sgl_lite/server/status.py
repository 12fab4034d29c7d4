"""What the server says of itself: health, models, engine. In: the service. Out: JSON."""

from __future__ import annotations

import itertools
import math
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

import sgl_lite
from sgl_lite.server.errors import ApiError, invalid
from sgl_lite.server.service import Service

TREE_NODES, MAX_TREE_NODES = 64, 512
IMAGE_MARK = "\N{FRAME WITH PICTURE}"


class Status:
    """Handlers of GET requests."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> dict[str, Callable[[Request], Awaitable[Response]]]:
        return {
            "/health": self.health,
            "/ready": self.ready,
            "/v1/models": self.models,
            "/v1/models/{name:path}": self.model,
            "/model_info": self.model_info,
            "/get_model_info": self.model_info,
            "/server_info": self.server_info,
            "/get_server_info": self.server_info,
            "/radix_tree": self.radix_tree,
        }

    async def health(self, request: Request) -> Response:
        """200 while the engine runs."""
        if not self._service.desk.engine_runs:
            raise ApiError(503, "the engine has stopped", code="engine_stopped")
        return JSONResponse({"status": "ok"})

    async def ready(self, request: Request) -> Response:
        """200 while new requests are taken."""
        if not self._service.desk.is_open:
            raise ApiError(503, "the server is stopping", code="server_stopping")
        return await self.health(request)

    async def models(self, request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [self._card()]})

    async def model(self, request: Request) -> Response:
        self._service.check_model(request.path_params["name"])
        return JSONResponse(self._card())

    def _card(self) -> dict[str, Any]:
        config = self._service.config
        return {
            "id": config.model_name,
            "object": "model",
            "created": self._service.created,
            "owned_by": "sgl-lite",
            "root": self._service.backend.model_name,
            "revision": config.revision,
            "max_model_len": self._service.backend.engine.context_length,
        }

    async def model_info(self, request: Request) -> Response:
        """By SGLang's names."""
        engine = self._service.backend.engine
        return JSONResponse(
            {
                "model_path": self._service.backend.model_name,
                "tokenizer_path": engine.config.tokenizer_path or self._service.backend.model_name,
                "is_generation": True,
                "revision": self._service.config.revision,
                "image_text": None if engine.image_support is None else engine.image_support.text,
            }
        )

    async def server_info(self, request: Request) -> Response:
        """Figures that are not finite (a quantile beyond the last bucket) are null."""
        info = self._service.backend.server_info()
        finite = {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in info.items()
        }
        return JSONResponse({"version": sgl_lite.__version__, **finite})

    async def radix_tree(self, request: Request) -> Response:
        """The part of the tree that was used last: runs of tokens, each after the one that it goes on from."""
        asked = request.query_params.get("nodes", str(TREE_NODES))
        if not asked.isdecimal() or not 1 <= int(asked[:9]) <= MAX_TREE_NODES:
            raise invalid("nodes", f"it must be a number from 1 to {MAX_TREE_NODES}")
        return JSONResponse(await self._service.desk.in_thread(self._tree, int(asked)))

    def _tree(self, max_nodes: int) -> dict[str, Any]:
        tree = self._service.backend.engine.radix_tree(max_nodes)
        nodes = [
            {
                "parent": node.parent,
                "start": node.start,
                "end": node.end,
                "locks": node.num_locks,
                "uses": node.num_uses,
                "hidden": node.num_hidden,
                "text": self._caption(node.head) if self._service.config.show_prompts else None,
            }
            for node in tree.nodes
        ]
        return {
            "page_size": tree.page_size,
            "num_nodes": tree.num_nodes,
            "hidden": tree.num_hidden,
            "nodes": nodes,
        }

    def _caption(self, head: tuple[int, ...]) -> str:
        """The text of a run's first tokens; rows of images, which are no tokens, are one mark together."""
        runs = itertools.groupby(head, key=lambda key: key < 0)
        return "".join(IMAGE_MARK if of_image else self._service.backend.decode(list(keys)) for of_image, keys in runs)

    async def flush_cache(self, request: Request) -> Response:
        """Forget computed prefixes that nobody uses."""
        await self._service.desk.in_thread(self._service.backend.flush_cache)
        return JSONResponse({"status": "ok"})
