"""`POST /v1/embeddings`: texts as vectors of length 1. In: an `EmbeddingBody`. Out: OpenAI's list of embeddings.

A vector is the model's last hidden state at the end of a text. Models that write text are not trained to put like texts
close to each other in it.
"""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.responses import Response

from runtime.api import Embedding
from runtime.errors import RequestAborted
from sgl_lite.server.errors import as_api_error, invalid
from sgl_lite.server.gate import Call
from sgl_lite.server.protocol import EmbeddingBody
from sgl_lite.server.service import Service
from sgl_lite.server.streams import to_json


async def embeddings(service: Service, call: Call, body: EmbeddingBody) -> Response:
    service.check_model(body.model)
    prompts, _ = service.prompts(body.input, "input")
    service.desk.occupy(call, len(prompts))
    try:
        async with asyncio.timeout(service.config.request_seconds):
            found = [await service.desk.in_thread(service.backend.embed, prompt) for prompt in prompts]
    except Exception as error:
        ended = RequestAborted("too slow") if isinstance(error, TimeoutError) else error
        raise as_api_error(ended, prompt="input") from error
    return Response(to_json(_answer(service, call, body, found)), media_type="application/json")


def _answer(service: Service, call: Call, body: EmbeddingBody, found: list[Embedding]) -> dict[str, Any]:
    width = len(found[0].vector)
    if body.dimensions not in (None, width):
        raise invalid("dimensions", f"this model's embeddings have {width}; leave it out")
    data = [
        {"object": "embedding", "index": index, "embedding": _written(one.vector, body.encoding_format == "base64")}
        for index, one in enumerate(found)
    ]
    tokens = call.figures["prompt_tokens"] = sum(one.num_tokens for one in found)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": service.config.model_name, "usage": usage}


def _written(vector: NDArray[np.float32], in_base64: bool) -> str | list[float]:
    length = float(np.linalg.norm(vector))
    unit = vector / length if length else vector
    return base64.b64encode(unit.astype("<f4").tobytes()).decode() if in_base64 else unit.tolist()
