"""`POST /v1/embeddings`: told clearly that there are none."""

from __future__ import annotations

from starlette.responses import Response

from sgl_lite.server.errors import ApiError
from sgl_lite.server.gate import Call
from sgl_lite.server.protocol import EmbeddingBody
from sgl_lite.server.service import Service


async def embeddings(service: Service, call: Call, body: EmbeddingBody) -> Response:
    service.check_model(body.model)
    raise ApiError(
        400,
        f"{service.config.model_name} writes text and gives no embeddings; ask a server of an embedding model",
        param="model",
        code="embeddings_not_supported",
    )
