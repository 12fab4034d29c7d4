"""SGLang's `Runtime`: a server of our own in another process, with a model of its own, as a backend.

In: the settings of `sgl-lite serve`, by SGLang's names. Out: a URL, and answers over HTTP. `Engine` does the same in
this process, without HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import weakref
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import IO, Any

from sgl_lite.backends.http import RuntimeEndpoint
from sgl_lite.errors import ArgumentError, BackendError

STOP_SECONDS = 2
"""What is under way has so long to end when the server is shut down."""
_FLAGS = {
    "revision": "--revision",
    "served_model_name": "--served-model-name",
    "device": "--device",
    "context_length": "--context-length",
    "max_running_requests": "--max-running",
}


class Runtime:
    """`Runtime(model_path="Qwen/Qwen3-0.6B")`; None is the embedded model. Ready when made; a context manager.

    port:           None takes a free one. api_key: what opens the server; None: everyone on this machine.
    log_level:      what the server writes to standard error. launch_timeout: seconds until it must be ready.
    settings:       revision, served_model_name, device, context_length, max_running_requests.
    url:            where it listens. endpoint: the backend that asks it.
    Errors: `BackendError` with the server's last words, if it does not start.
    """

    def __init__(
        self,
        model_path: str | None = None,
        *,
        host: str = "127.0.0.1",
        port: int | None = None,
        api_key: str | None = None,
        log_level: str = "error",
        launch_timeout: float = 300.0,
        **settings: Any,
    ) -> None:
        unknown = settings.keys() - _FLAGS.keys()
        if unknown:
            raise ArgumentError(f"Runtime has no setting {min(unknown)!r}; it has {', '.join(_FLAGS)}")
        port = port if port is not None else _free_port(host)
        command = [sys.executable, "-c", "from sgl_lite.cli import main; main()", "serve", "--host", host]
        command += ["--port", str(port), "--log-level", log_level, "--stop-seconds", str(STOP_SECONDS)]
        command += ["--model", model_path] if model_path is not None else []
        command += [part for name, value in settings.items() for part in (_FLAGS[name], str(value))]
        environment = {**os.environ, **({"SGL_LITE_API_KEY": api_key} if api_key else {})}
        self.url = f"http://{host}:{port}"
        self._model_path, self._revision = model_path, settings.get("revision")
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace"
        )
        self._last_words: deque[str] = deque(maxlen=20)
        assert self._process.stderr is not None
        self._listener = threading.Thread(
            target=_listen, args=(self._process.stderr, self._last_words), name="sgl-lite-server", daemon=True
        )
        self._listener.start()
        self._end = weakref.finalize(self, _end, self._process, self._listener)
        """Also when the runtime is collected, or the interpreter ends."""
        self._headers = {
            "Content-Type": "application/json",
            **({"Authorization": f"Bearer {api_key}"} if api_key else {}),
        }
        self._await_ready(launch_timeout)
        self.endpoint = RuntimeEndpoint(self.url, api_key)

    def _await_ready(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while True:
            try:
                with urllib.request.urlopen(f"{self.url}/ready", timeout=5):
                    return
            except OSError:
                ended = self._process.poll()
            if ended is not None:
                self._listener.join(1)
                raise BackendError(f"the server ended with status {ended}:\n{''.join(self._last_words)}")
            if time.monotonic() > until:
                self.shutdown()
                raise BackendError(f"the server was not ready within launch_timeout={seconds:g} s; see its log")
            time.sleep(0.05)

    def generate(
        self,
        prompt: str | Sequence[str],
        sampling_params: Mapping[str, Any] | None = None,
        return_logprob: bool = False,
        logprob_start_len: int | None = None,
        top_logprobs_num: int | None = None,
    ) -> str:
        """The server's answer to `/generate`, as JSON text. Errors: `BackendError`."""
        body: dict[str, Any] = {"text": prompt if isinstance(prompt, str) else list(prompt)}
        body |= {"sampling_params": dict(sampling_params or {}), "return_logprob": return_logprob}
        body |= {"logprob_start_len": logprob_start_len, "top_logprobs_num": top_logprobs_num}
        with self._open("/generate", body) as response:
            return json.dumps(json.load(response))

    async def async_generate(self, prompt: str, sampling_params: Mapping[str, Any] | None = None) -> AsyncIterator[str]:
        """Pieces of the answer's text, as they come."""
        body = {"text": prompt, "sampling_params": dict(sampling_params or {}), "stream": True}
        response, seen = await asyncio.to_thread(self._open, "/generate", body), 0
        with contextlib.closing(response):
            while line := await asyncio.to_thread(response.readline):
                event = line.decode().strip().removeprefix("data:").strip()
                if not event or event == "[DONE]":
                    continue
                answer = json.loads(event)
                if "error" in answer:
                    raise BackendError(f"{self.url}: {answer['error']}")
                if piece := answer["text"][seen:]:
                    seen += len(piece)
                    yield piece

    add_request = async_generate
    """SGLang's other name of it."""

    def get_tokenizer(self) -> Any:
        """The tokenizer of `transformers` that the server has too, loaded into this process."""
        from sgl_lite.backends.local import Engine  # brings torch, which asking a server goes without

        return Engine.load_tokenizer(self._model_path, revision=self._revision)

    def encode(self, text: str) -> list[int]:
        """The token ids that `text` has as a prompt, as `Engine.encode`. SGLang's gives embeddings, of other models."""
        return list(self.endpoint.encode(text))

    def cache_prefix(self, prefix: str) -> None:
        """Compute the beginning of prompts ahead."""
        self.generate(prefix, {"max_new_tokens": 0})

    def shutdown(self) -> None:
        """End the server. Twice does no harm."""
        self._end()

    def __enter__(self) -> Runtime:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.shutdown()

    def _open(self, path: str, body: Mapping[str, Any]) -> Any:
        given = {name: value for name, value in body.items() if value is not None}
        request = urllib.request.Request(self.url + path, json.dumps(given).encode(), self._headers)
        try:
            return urllib.request.urlopen(request)
        except urllib.error.HTTPError as error:
            said = error.read().decode(errors="replace")[:500]
            raise BackendError(f"{self.url}{path} answered {error.code}: {said}") from error
        except OSError as error:
            raise BackendError(f"{self.url} cannot be reached: {error}; was it shut down?") from error


def _free_port(host: str) -> int:
    with socket.socket() as one:
        one.bind((host, 0))
        return int(one.getsockname()[1])


def _listen(stream: IO[str], last_words: deque[str]) -> None:
    """Pass on what the server says, and keep the end of it."""
    with stream:
        for line in stream:
            last_words.append(line)
            print(line, end="", file=sys.stderr)


def _end(process: subprocess.Popen[str], listener: threading.Thread) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS + 5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    listener.join(1)
