#!/usr/bin/env python3
"""Runs one peer once, in a process of its own: bench/compare_peers.py starts it.

    peer_engines.py JOB.json

A job names the engine (transformers or llama.cpp), the model, the number of threads and the tests, or ids
whose logits are wanted in a file. The answer is a JSON array on the last line of standard output: seconds
of every repetition of every test.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any, Protocol

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np

Job = dict[str, Any]
Ids = list[list[int]]  # of every sequence
CHUNK = 512  # most tokens of a prompt that are computed at once
MASK = (1 << 64) - 1


def token_at(seed: int, sequence: int, position: int, vocab_size: int) -> int:
    """The token that moe-bench has there."""
    x = (seed * 0x9E3779B97F4A7C15 + sequence * 0xD1342543DE82EF95 + position) & MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return ((x ^ (x >> 31)) & MASK) % vocab_size


class Engine(Protocol):
    def begin(self, n_sequences: int, context: int) -> None:
        """Empty sequences, each with room for `context` positions."""

    def feed(self, first: int, ids: Ids) -> None:
        """The same number of tokens to every sequence, from position `first` on; logits of the last ones."""

    def cut(self, length: int) -> None:
        """Forgets positions from `length` on."""

    def all_logits(self, ids: list[int]) -> Any:
        """[rows, vocab] of one sequence, fp32."""


class Transformers:
    def __init__(self, job: Job) -> None:
        import torch
        import transformers

        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        torch.set_num_threads(job["n_threads"])
        self.torch = torch
        self.new_cache = transformers.DynamicCache
        dtype = {"bf16": torch.bfloat16, "fp32": torch.float32}[job["storage"]]
        self.model = transformers.AutoModelForCausalLM.from_pretrained(job["model"], dtype=dtype).eval()
        self.cache = self.new_cache()

    def begin(self, n_sequences: int, context: int) -> None:
        self.cache = self.new_cache()

    def feed(self, first: int, ids: Ids) -> None:
        with self.torch.inference_mode():
            for i in range(0, len(ids[0]), CHUNK):
                chunk = self.torch.tensor([sequence[i : i + CHUNK] for sequence in ids])
                self.model(chunk, cache=self.cache, use_cache=True, logits_to_keep=1)

    def cut(self, length: int) -> None:
        surplus = self.cache.get_seq_length() - length
        if length == 0:
            self.cache = self.new_cache()
        elif surplus > 0:
            self.cache.crop(-surplus)

    def all_logits(self, ids: list[int]) -> Any:
        with self.torch.inference_mode():
            return self.model(self.torch.tensor([ids])).logits[0].float().numpy()


class Llama:
    def __init__(self, job: Job) -> None:
        import llama_cpp

        self.api = llama_cpp
        self.quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)
        llama_cpp.llama_log_set(self.quiet, None)
        llama_cpp.llama_backend_init()
        params = llama_cpp.llama_model_default_params()
        params.n_gpu_layers = 0
        self.n_threads = job["n_threads"]
        self.model = llama_cpp.llama_model_load_from_file(str(job["model"]).encode(), params)
        if not self.model:
            raise RuntimeError(f"{job['model']}: llama.cpp cannot load it")
        self.context: Any = None
        self.vocab_size = job["vocab_size"]
        self.batch = llama_cpp.llama_batch_init(CHUNK, 0, 1)

    def begin(self, n_sequences: int, context: int) -> None:
        api = self.api
        if self.context:
            api.llama_free(self.context)
        params = api.llama_context_default_params()
        params.n_ctx = n_sequences * (-(-context // 256) * 256)
        params.n_seq_max = n_sequences
        params.n_batch = params.n_ubatch = CHUNK
        params.n_threads = params.n_threads_batch = self.n_threads
        self.context = api.llama_init_from_model(self.model, params)
        if not self.context:
            raise RuntimeError("llama.cpp: no context")

    def decode(self, rows: list[tuple[int, int, int, bool]]) -> None:
        """Rows are sequence, position, token, whether its logits are wanted."""
        batch = self.batch
        batch.n_tokens = len(rows)
        for i, (sequence, position, token, wanted) in enumerate(rows):
            batch.token[i] = token
            batch.pos[i] = position
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = sequence
            batch.logits[i] = wanted
        status = self.api.llama_decode(self.context, batch)
        if status != 0:
            raise RuntimeError(f"llama_decode: status {status}")
        self.api.llama_synchronize(self.context)

    def feed(self, first: int, ids: Ids) -> None:
        n = len(ids[0])
        rows = [(s, first + i, sequence[i], i + 1 == n) for s, sequence in enumerate(ids) for i in range(n)]
        for i in range(0, len(rows), CHUNK):
            self.decode(rows[i : i + CHUNK])

    def cut(self, length: int) -> None:
        memory = self.api.llama_get_memory(self.context)
        for sequence in range(self.api.llama_n_seq_max(self.context)):
            self.api.llama_memory_seq_rm(memory, sequence, length, -1)

    def all_logits(self, ids: list[int]) -> Any:
        self.begin(1, len(ids))
        self.decode([(0, i, token, True) for i, token in enumerate(ids)])
        logits = self.api.llama_get_logits(self.context)
        return np.ctypeslib.as_array(logits, shape=(len(ids), self.vocab_size)).copy()


def run_test(engine: Engine, job: Job, test: dict[str, Any]) -> list[float]:
    depth, n, n_sequences = test["depth"], test["n"], test["n_sequences"]

    def ids(begin: int, end: int) -> Ids:
        seed, vocab_size = job["seed"], job["vocab_size"]
        return [[token_at(seed, s, p, vocab_size) for p in range(begin, end)] for s in range(n_sequences)]

    engine.begin(n_sequences, depth + n)
    if depth:
        engine.feed(0, ids(0, depth))
    size = n if test["kind"] == "pp" else 1
    steps = [ids(p, p + size) for p in range(depth, depth + n, size)]
    samples = []
    for _ in range(1 + job["n_repeats"]):  # the first one warms up
        engine.cut(depth)
        position, start = depth, time.perf_counter()
        for tokens in steps:
            engine.feed(position, tokens)
            position += len(tokens[0])
        samples.append(time.perf_counter() - start)
    return samples[1:]


def main() -> None:
    job: Job = json.loads(Path(sys.argv[1]).read_text())
    engine: Engine = Transformers(job) if job["engine"] == "transformers" else Llama(job)
    if "logits" in job:
        np.save(job["logits"], np.asarray(engine.all_logits(job["ids"]), dtype=np.float32))
        print("[]")
        return
    print(json.dumps([run_test(engine, job, test) for test in job["tests"]]))


if __name__ == "__main__":
    main()
