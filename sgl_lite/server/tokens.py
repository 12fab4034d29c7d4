"""`POST /tokenize` and `/detokenize`. Text to the model's token ids, and back."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response

from sgl_lite.server.errors import invalid
from sgl_lite.server.gate import Call
from sgl_lite.server.protocol import DetokenizeBody, TokenizeBody
from sgl_lite.server.service import Service


async def tokenize(service: Service, call: Call, body: TokenizeBody) -> Response:
    service.check_model(body.model)
    service.check_prompt(body.prompt, "prompt")
    tokens = await service.desk.in_thread(service.backend.encode, body.prompt, body.add_special_tokens)
    length = service.backend.engine.context_length
    return JSONResponse({"tokens": list(tokens), "count": len(tokens), "max_model_len": length})


async def detokenize(service: Service, call: Call, body: DetokenizeBody) -> Response:
    """The text is under both names that clients look for: SGLang's and vLLM's."""
    service.check_model(body.model)
    count = len(service.backend.engine.tokenizer)
    for token in body.tokens:
        if token >= count:
            raise invalid("tokens", f"token id {token} is not in 0..{count - 1}")
    text = await service.desk.in_thread(service.backend.decode, body.tokens)
    return JSONResponse({"text": text, "prompt": text})
