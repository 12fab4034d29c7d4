"""llama.cpp as an engine of `benchmarks.engines`: its own batches, a step for all sequences at once, greedy.

In come prompts of token ids; what is drawn is not kept. What prompts begin with in common is computed once and copied
between sequences, as llama.cpp's server does. Needs llama-cpp-python and gguf, which the environment of the other
engines need not have.

    python -m benchmarks.llamacpp FOLDER    converts the Llama checkpoint there, unless that was done before
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import gguf
import llama_cpp
import numpy as np
from numpy.typing import NDArray

CONVERTED = "model.gguf"
MAX_SEQUENCES = 64
MAX_BATCH = 2048
SHARED_CELLS, OWN_CELLS = 12_288, 256
"""Of a cache for all sequences together, and of one that each has for itself."""
WORTH_SHARING = 64
"""Tokens."""


class LlamaCpp:
    """One cache for all sequences where prompts share a beginning; else one for each, which is faster."""

    def __init__(self, path: Path, threads: int) -> None:
        self._silent = llama_cpp.llama_log_callback(lambda level, text, data: None)
        llama_cpp.llama_log_set(self._silent, None)
        llama_cpp.llama_backend_init()
        parameters = llama_cpp.llama_model_default_params()
        self._model = llama_cpp.llama_model_load_from_file(str(path / CONVERTED).encode(), parameters)
        self._vocab_size = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self._model))
        self._threads = threads
        self._contexts: dict[bool, Any] = {}
        self._batch = llama_cpp.llama_batch_init(MAX_BATCH, 0, 1)

    def run(self, prompts: list[tuple[int, ...]], lengths: list[int]) -> None:
        shared = in_common(prompts) if len(prompts) > 1 else 0
        shared = shared if shared >= WORTH_SHARING else 0
        context = self._context(shared > 0)
        memory = llama_cpp.llama_get_memory(context)
        llama_cpp.llama_memory_clear(memory, False)
        if shared:
            self._decode(context, [(token, i, MAX_SEQUENCES, False) for i, token in enumerate(prompts[0][:shared])])
            for sequence in range(len(prompts)):
                llama_cpp.llama_memory_seq_cp(memory, MAX_SEQUENCES, sequence, -1, -1)
        new = [
            (token, position, sequence, position == len(prompt) - 1)
            for sequence, prompt in enumerate(prompts)
            for position, token in enumerate(prompt)
            if position >= shared
        ]
        drawn = self._decode(context, new)
        for done in range(1, max(lengths)):
            running = [sequence for sequence, length in enumerate(lengths) if done < length]
            step = [(drawn[sequence], len(prompts[sequence]) + done - 1, sequence, True) for sequence in running]
            drawn = self._decode(context, step)

    def _decode(self, context: Any, tokens: list[tuple[int, int, int, bool]]) -> dict[int, int]:
        """tokens: (id, position, sequence, whether to draw behind it). What was drawn, by sequence."""
        drawn: dict[int, int] = {}
        batch = self._batch
        for begin in range(0, len(tokens), MAX_BATCH):
            part = tokens[begin : begin + MAX_BATCH]
            batch.n_tokens = len(part)
            for i, (token, position, sequence, draws) in enumerate(part):
                batch.token[i], batch.pos[i], batch.logits[i] = token, position, draws
                batch.n_seq_id[i], batch.seq_id[i][0] = 1, sequence
            if llama_cpp.llama_decode(context, batch):
                raise RuntimeError(f"llama.cpp did not decode a batch of {len(part)} tokens")
            for i, (_, _, sequence, draws) in enumerate(part):
                if draws:
                    logits = np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(context, i), (self._vocab_size,))
                    drawn[sequence] = int(logits.argmax())
        return drawn

    def _context(self, shares: bool) -> Any:
        if shares not in self._contexts:
            for context in self._contexts.values():
                llama_cpp.llama_free(context)
            parameters = llama_cpp.llama_context_default_params()
            parameters.n_seq_max = MAX_SEQUENCES + 1
            parameters.n_ctx = SHARED_CELLS if shares else parameters.n_seq_max * OWN_CELLS
            parameters.kv_unified = shares
            parameters.n_batch = MAX_BATCH
            parameters.n_threads = parameters.n_threads_batch = self._threads
            self._contexts = {shares: llama_cpp.llama_init_from_model(self._model, parameters)}
        return self._contexts[shares]


def in_common(prompts: list[tuple[int, ...]]) -> int:
    """Tokens that all prompts begin with."""
    columns = zip(*prompts, strict=False)
    return next((i for i, column in enumerate(columns) if len(set(column)) > 1), min(map(len, prompts)))


def convert(path: Path, to: Path) -> None:
    """A Llama checkpoint of bfloat16, in one file, as GGUF."""
    config = json.loads((path / "config.json").read_text())
    tokenizer = json.loads((path / "tokenizer.json").read_text())
    num_heads, num_kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    writer = gguf.GGUFWriter(str(to), "llama")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(num_heads)
    writer.add_head_count_kv(num_kv_heads)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(config["hidden_size"] // num_heads)
    writer.add_rope_freq_base(config.get("rope_parameters", config)["rope_theta"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    texts = sorted(tokenizer["model"]["vocab"], key=tokenizer["model"]["vocab"].__getitem__)
    texts += [f"<unused {i}>" for i in range(config["vocab_size"] - len(texts))]
    writer.add_token_list(texts)
    writer.add_token_types([gguf.TokenType.NORMAL] * len(texts))
    merges = tokenizer["model"]["merges"]
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    for name, bits in read_bfloat16(path / "model.safetensors"):
        for part, heads in (("q_proj", num_heads), ("k_proj", num_kv_heads)):
            if part in name:  # GGUF rotates neighbours, the checkpoint halves of a head
                bits = bits.reshape(heads, 2, -1, bits.shape[1]).swapaxes(1, 2).reshape(bits.shape)
        new = names.get_name(name, try_suffixes=(".weight",))
        if bits.ndim == 1:
            writer.add_tensor(new, (bits.astype(np.uint32) << 16).view(np.float32))
        else:
            data = np.ascontiguousarray(bits).view(np.uint8)
            writer.add_tensor(new, data, raw_dtype=gguf.GGMLQuantizationType.BF16)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def read_bfloat16(file: Path) -> list[tuple[str, NDArray[np.uint16]]]:
    """Names and bits of the tensors in a safetensors file, by its format: a length, a header of JSON, the data."""
    content = file.read_bytes()
    begin = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:begin])
    header.pop("__metadata__", None)
    tensors = []
    for name, described in header.items():
        if described["dtype"] != "BF16":
            raise ValueError(f"{name} is {described['dtype']}, not BF16")
        first, last = described["data_offsets"]
        bits = np.frombuffer(content[begin + first : begin + last], np.uint16)
        tensors.append((name, bits.reshape(described["shape"])))
    return tensors


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    if not (folder / CONVERTED).exists():
        convert(folder, folder / CONVERTED)
