#!/usr/bin/env python3
"""Train the storyteller, the small Qwen3-MoE checkpoint that ships with the engine, on a CPU.

    train_demo.py --corpus BOOKS --work WORK --out models/storyteller --steps 6000

BOOKS is a folder of plain-text books. The run saves its state to WORK every 200 steps and a second start
continues from there; a batch depends on the seed and the step alone, so a resumed run sees the data of an
unbroken one. The learning rate is flat until the decay begins at 70 % of --steps, so --steps may still be
changed until then. --export-only writes the last saved state to --out in the layout of the Hugging Face Hub,
while a run goes on.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from storygen import END_OF_STORY, stories
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers.trainers import BpeTrainer
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer

SPECIALS = [END_OF_STORY, "<|im_start|>", "<|im_end|>"]
QWEN_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
HEAD_ROWS = 64
PROMPTS = ["Once upon a time, there was", "Once there was a small boy named Ben", "Long ago, a young rabbit"]
Tokens = npt.NDArray[np.uint16]


@dataclass(frozen=True)
class Shape:
    vocab: int = 4096
    hidden: int = 256
    layers: int = 6
    heads: int = 8
    kv_heads: int = 2
    head_dim: int = 32
    experts: int = 8
    top_k: int = 2
    expert_width: int = 128
    rope_theta: float = 10000.0
    eps: float = 1e-6
    positions: int = 1024


@dataclass(frozen=True)
class Recipe:
    peak_lr: float = 2e-3
    warmup: int = 200
    decay_fraction: float = 0.3  # the last part of the run, in which the rate falls to zero
    weight_decay: float = 0.1
    clip: float = 1.0
    aux_loss: float = 0.01
    tokens_per_step: int = 4096
    short: int = 256
    long: int = 1024  # every second step of the decay, so that texts beyond 256 tokens hold together
    grammar_share: float = 0.5
    grammar_share_decay: float = 0.85
    story_start_share: float = 0.5  # windows that begin where a story begins, as a prompt does
    save_every: int = 200


# -- data ----------------------------------------------------------------------------------------------------


def read_books(folder: Path) -> list[str]:
    """The books of a folder, with plain quotes: a small model should not learn every quotation mark twice."""
    plain = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u00a0": " "})
    books = [path.read_text("utf-8-sig") for path in sorted(folder.glob("*.txt"))]
    if not books:
        raise SystemExit(f"{folder}: no *.txt files")
    return [book.translate(plain).strip() for book in books]


def make_grammar(megabytes: float, seed: int) -> list[str]:
    texts: list[str] = []
    size = 0.0
    for story in stories(seed):
        if size >= megabytes * 1e6:
            break
        texts.append(story)
        size += len(story)
    return texts


def train_tokenizer(texts: list[str], vocab: int) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN_PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(
        add_prefix_space=False, trim_offsets=False, use_regex=False
    )
    trainer = BpeTrainer(
        vocab_size=vocab - len(SPECIALS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIALS])
    if tokenizer.get_vocab_size() != vocab:
        raise SystemExit(
            f"the tokenizer has {tokenizer.get_vocab_size()} entries, not {vocab}: too little text"
        )
    return tokenizer


def encode(tokenizer: Tokenizer, texts: list[str]) -> Tokens:
    """One stream of token ids, an end-of-text token after every text."""
    end = tokenizer.token_to_id(END_OF_STORY)
    pieces: list[Tokens] = []
    for first in range(0, len(texts), 2000):
        for encoding in tokenizer.encode_batch(texts[first : first + 2000]):
            pieces.append(np.array([*encoding.ids, end], dtype=np.uint16))
    return np.concatenate(pieces)


@dataclass(frozen=True)
class Data:
    tokenizer: Tokenizer
    grammar: Tokens
    story_starts: npt.NDArray[np.int64]
    books: Tokens
    held_grammar: Tokens
    held_books: Tokens


def prepare(corpus: Path | None, work: Path, shape: Shape, seed: int, grammar_mb: float) -> Data:
    """Tokenizer and token streams; made on the first start, read from the work folder afterwards."""
    streams = work / "tokens.npz"
    vocabulary = work / "tokenizer.json"
    if not streams.exists():
        if corpus is None:
            raise SystemExit("--corpus is needed for the first start")
        books = read_books(corpus)
        # The last 2 % of each book are held out, so that each author is in both parts.
        cuts = [len(book) * 98 // 100 for book in books]
        train_books = [book[:cut] for book, cut in zip(books, cuts, strict=True)]
        held_books = [book[cut:] for book, cut in zip(books, cuts, strict=True)]
        grammar = make_grammar(grammar_mb, seed)
        seen = set(grammar)
        held_grammar = [story for story in make_grammar(0.25, seed + 1) if story not in seen]
        sample = sum(len(book) for book in train_books) // 4
        tokenizer = train_tokenizer([*train_books, *make_grammar(sample / 1e6, seed)], shape.vocab)
        tokenizer.save(str(vocabulary))
        np.savez(
            streams,
            grammar=encode(tokenizer, grammar),
            books=encode(tokenizer, train_books),
            held_grammar=encode(tokenizer, held_grammar),
            held_books=encode(tokenizer, held_books),
        )
    tokenizer = Tokenizer.from_file(str(vocabulary))
    with np.load(streams) as file:
        arrays = {name: file[name] for name in file.files}
    ends = np.flatnonzero(arrays["grammar"] == tokenizer.token_to_id(END_OF_STORY))
    starts = np.concatenate([[0], ends[:-1] + 1])
    return Data(tokenizer, story_starts=starts, **arrays)


def draw_batch(data: Data, recipe: Recipe, seed: int, step: int, decaying: bool) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng((seed, step))
    length = recipe.long if decaying and step % 2 else recipe.short
    share = recipe.grammar_share_decay if decaying else recipe.grammar_share
    rows: list[Tokens] = []
    for _ in range(recipe.tokens_per_step // length):
        stream = data.grammar if rng.random() < share else data.books
        last = len(stream) - length - 1
        start = int(rng.integers(last))
        if stream is data.grammar and rng.random() < recipe.story_start_share:
            start = min(int(rng.choice(data.story_starts)), last)
        rows.append(stream[start : start + length + 1])
    batch = torch.from_numpy(np.stack(rows).astype(np.int64))
    return batch[:, :-1], batch[:, 1:]


# -- model ---------------------------------------------------------------------------------------------------


def rope_tables(shape: Shape) -> tuple[Tensor, Tensor]:
    rates = shape.rope_theta ** (-torch.arange(0, shape.head_dim, 2).float() / shape.head_dim)
    angles = torch.outer(torch.arange(shape.positions).float(), rates)
    return torch.cat([angles.cos()] * 2, -1), torch.cat([angles.sin()] * 2, -1)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat([-second, first], -1) * sin


class Permute(torch.autograd.Function):
    """Rows in a new order; for a permutation the gradient is a gather too, not a slow scatter."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(inverse)
        return rows.index_select(0, order)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (inverse,) = ctx.saved_tensors
        return gradient.index_select(0, inverse), None, None


def permute(rows: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
    return cast(Tensor, Permute.apply(rows, order, inverse))  # type: ignore[no-untyped-call]


class HeadLoss(torch.autograd.Function):
    """Output projection and mean cross-entropy in slices of rows that fit the cache, gradients at once: the
    logits of a whole batch are 64 MB and would go through memory several times."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        dtype = torch.bfloat16 if torch.is_autocast_enabled("cpu") else torch.float32
        with torch.autocast("cpu", enabled=False):
            x, weight = x.to(dtype), weight.to(dtype)
            slopes = torch.empty(len(x), len(weight), dtype=dtype)
            total = torch.zeros(())
            for first in range(0, len(x), HEAD_ROWS):
                wanted = targets[first : first + HEAD_ROWS, None]
                chances = F.linear(x[first : first + HEAD_ROWS], weight).float().log_softmax(-1)
                total -= chances.gather(1, wanted).sum()
                chances.exp_().scatter_add_(1, wanted, torch.full(wanted.shape, -1.0))
                slopes[first : first + HEAD_ROWS] = chances
            grad_x, grad_weight = slopes @ weight, (slopes.T @ x).float()
        ctx.save_for_backward(grad_x, grad_weight)
        return total / len(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        grad_x, grad_weight = ctx.saved_tensors
        scale = gradient / len(grad_x)
        return grad_x.float() * scale, grad_weight * scale, None


def head_loss(x: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    return cast(Tensor, HeadLoss.apply(x, weight, targets))  # type: ignore[no-untyped-call]


def attend_short(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention with the whole table of scores, which for 256 positions is twice as fast on a CPU."""
    batch, heads, length, width = q.shape
    groups = batch * k.shape[1]
    with torch.autocast("cpu", enabled=False):  # it would widen the table to float32 and narrow it again
        keys = k.reshape(groups, length, width).transpose(1, 2) * width**-0.5
        past = torch.full((length, length), -math.inf, dtype=q.dtype).triu(1).repeat(heads // k.shape[1], 1)
        scores = torch.baddbmm(past, q.reshape(groups, -1, width), keys)
        mixed = torch.bmm(scores.softmax(-1), v.reshape(groups, length, width))
    return mixed.view(batch, heads, length, width)


def attend_long(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    repeat = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(repeat, 1), v.repeat_interleave(repeat, 1)
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


class Attention(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        width = (shape.heads + 2 * shape.kv_heads) * shape.head_dim
        self.qkv = nn.Parameter(torch.empty(width, shape.hidden))
        self.out = nn.Parameter(torch.empty(shape.hidden, shape.heads * shape.head_dim))
        self.q_norm = nn.Parameter(torch.ones(shape.head_dim))
        self.k_norm = nn.Parameter(torch.ones(shape.head_dim))

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        s = self.shape
        batch, length, _ = x.shape
        qkv = F.linear(x, self.qkv).view(batch, length, -1, s.head_dim).transpose(1, 2)
        q, k, v = torch.split(qkv, [s.heads, s.kv_heads, s.kv_heads], 1)
        q = rotate(F.rms_norm(q.float(), (s.head_dim,), self.q_norm, s.eps), cos, sin).to(v.dtype)
        k = rotate(F.rms_norm(k.float(), (s.head_dim,), self.k_norm, s.eps), cos, sin).to(v.dtype)
        mixed = attend_short(q, k, v) if length <= 256 else attend_long(q, k, v)
        return F.linear(mixed.transpose(1, 2).reshape(batch, length, -1), self.out)


class Experts(nn.Module):
    """Top-k of the experts for each token, with the router's load-balancing loss."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.router = nn.Parameter(torch.empty(shape.experts, shape.hidden))
        self.gate_up = nn.Parameter(torch.empty(shape.experts, 2 * shape.expert_width, shape.hidden))
        self.down = nn.Parameter(torch.empty(shape.experts, shape.hidden, shape.expert_width))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        s = self.shape
        # Routing is in float32: rounding could change which experts are chosen.
        with torch.autocast("cpu", enabled=False):
            chances = F.linear(x.float(), self.router).softmax(-1)
        top, chosen = chances.topk(s.top_k)
        weights = top / top.sum(-1, keepdim=True)
        expert_of_slot = chosen.flatten()
        order = expert_of_slot.argsort(stable=True)
        counts = expert_of_slot.bincount(minlength=s.experts)
        inverse = order.argsort()
        if torch.is_autocast_enabled("cpu"):
            x = x.bfloat16()
        gathered = permute(x.repeat_interleave(s.top_k, 0), order, inverse)
        outputs = []
        shares = torch.split(gathered, cast(list[int], counts.tolist()))
        for rows, gate_up, down in zip(shares, self.gate_up.unbind(), self.down.unbind(), strict=True):
            gate, up = F.linear(rows, gate_up).chunk(2, -1)
            outputs.append(F.linear(F.silu(gate) * up, down))
        slots = permute(torch.cat(outputs), inverse, order).view(-1, s.top_k, s.hidden)
        mixed = (slots * weights.unsqueeze(-1).to(slots.dtype)).sum(1)
        balance = s.experts * (counts / len(x) * chances.mean(0)).sum()
        return mixed, balance


class Layer(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.attention_norm = nn.Parameter(torch.ones(shape.hidden))
        self.attention = Attention(shape)
        self.experts_norm = nn.Parameter(torch.ones(shape.hidden))
        self.experts = Experts(shape)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        width, eps = (self.shape.hidden,), self.shape.eps
        x = x + self.attention(F.rms_norm(x, width, self.attention_norm, eps), cos, sin)
        mixed, balance = self.experts(F.rms_norm(x, width, self.experts_norm, eps).flatten(0, 1))
        return x + mixed.view_as(x), balance


class Storyteller(nn.Module):
    """Qwen3-MoE in the few tensors that step fastest; `hub_tensors` gives it the Hub's names."""

    cos: Tensor
    sin: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Parameter(torch.empty(shape.vocab, shape.hidden))
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm = nn.Parameter(torch.ones(shape.hidden))
        cos, sin = rope_tables(shape)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1:
                # What is added to the residual stream starts smaller, by the number of additions.
                residual = name.endswith((".out", ".down"))
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * shape.layers) if residual else 0.02)

    def forward(self, tokens: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The mean cross-entropy in nats and the mean load-balancing loss."""
        length = tokens.shape[1]
        cos, sin = self.cos[:length], self.sin[:length]
        x = F.embedding(tokens, self.embedding)
        balances = []
        for layer in self.layers:
            x, balance = layer(x, cos, sin)
            balances.append(balance)
        x = F.rms_norm(x, (self.shape.hidden,), self.norm, self.shape.eps)
        loss = head_loss(x.flatten(0, 1), self.embedding, targets.flatten())
        return loss, torch.stack(balances).mean()


# -- training ------------------------------------------------------------------------------------------------


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    decay = max(1, round(steps * recipe.decay_fraction))
    return recipe.peak_lr * min(1.0, (step + 1) / recipe.warmup, (steps - step) / decay)


def is_decaying(recipe: Recipe, step: int, steps: int) -> bool:
    return step >= steps - round(steps * recipe.decay_fraction)


@torch.no_grad()
def held_out_loss(model: nn.Module, stream: Tokens, length: int, tokens: int, precise: bool = False) -> float:
    """Nats per token over the first windows of a held-out stream, side by side."""
    count = min(tokens, len(stream) - 1) // length
    inputs = torch.from_numpy(stream[: count * length].astype(np.int64)).view(count, length)
    targets = torch.from_numpy(stream[1 : count * length + 1].astype(np.int64)).view(count, length)
    total = 0.0
    rows = 4096 // length
    with torch.autocast("cpu", torch.bfloat16, enabled=not precise):
        for first in range(0, count, rows):
            loss, _ = model(inputs[first : first + rows], targets[first : first + rows])
            total += loss.item() * len(inputs[first : first + rows])
    return total / count


def make_optimizer(model: Storyteller, recipe: Recipe) -> torch.optim.AdamW:
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    groups = [
        {"params": matrices, "weight_decay": recipe.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.peak_lr, betas=(0.9, 0.95), fused=True)


def save_state(path: Path, state: dict[str, object]) -> None:
    """Written beside and renamed, so that a kill in between leaves the older state whole."""
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


class Log:
    """Lines for the terminal and for the log in the work folder."""

    def __init__(self, work: Path) -> None:
        self.file = (work / "training.log").open("a", buffering=1)

    def __call__(self, line: str) -> None:
        print(line, flush=True)
        self.file.write(line + "\n")


def train(options: argparse.Namespace, shape: Shape, recipe: Recipe) -> None:
    data = prepare(options.corpus, options.work, shape, options.seed, options.grammar_mb)
    torch.manual_seed(options.seed)
    model = Storyteller(shape)
    optimizer = make_optimizer(model, recipe)
    state_path = options.work / "state.pt"
    first, spent = 0, 0.0
    report = Log(options.work)
    if state_path.exists():
        state = torch.load(state_path)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first, spent = state["step"], state["spent"]
        report(f"# resumed at step {first}, steps {options.steps}")
    else:
        size = sum(p.numel() for p in model.parameters())
        report(f"# {shape}\n# {recipe}\n# seed {options.seed}, steps {options.steps}, {size} parameters")
        report(f"# tokens: grammar {len(data.grammar)}, books {len(data.books)}")
        report(f"# held out: grammar {len(data.held_grammar)}, books {len(data.held_books)}")
        report("# losses in nats per token; balance is 2 for an even load of the experts")
        report("# step rate train balance held-out-grammar held-out-books minutes seconds/step")
    began = time.monotonic()
    sums, counted, last_time = torch.zeros(2), 0, began
    for step in range(first, options.steps):
        rate = learning_rate(recipe, step, options.steps)
        for group in optimizer.param_groups:
            group["lr"] = rate
        decaying = is_decaying(recipe, step, options.steps)
        tokens, targets = draw_batch(data, recipe, options.seed, step, decaying)
        with torch.autocast("cpu", torch.bfloat16):
            loss, balance = model(tokens, targets)
        optimizer.zero_grad(set_to_none=True)
        (loss + recipe.aux_loss * balance).backward()
        nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        optimizer.step()
        sums += torch.stack([loss.detach(), balance.detach()])
        counted += 1
        done = step + 1
        if done % recipe.save_every == 0 or done == options.steps:
            pace = (time.monotonic() - last_time) / counted
            mean = sums / counted
            grammar = held_out_loss(model, data.held_grammar, recipe.short, 16384)
            books = held_out_loss(model, data.held_books, recipe.short, 16384)
            minutes = (spent + time.monotonic() - began) / 60
            report(
                f"{done:6d} {rate:.2e} {mean[0]:.4f} {mean[1]:.3f} {grammar:.4f} {books:.4f} "
                f"{minutes:6.1f} {pace:.3f}"
            )
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": done}
            save_state(state_path, {**state, "spent": spent + time.monotonic() - began})
            sums, counted, last_time = torch.zeros(2), 0, time.monotonic()


# -- export --------------------------------------------------------------------------------------------------


def hub_tensors(model: Storyteller) -> dict[str, Tensor]:
    s = model.shape
    tensors: dict[str, Tensor] = {
        "model.embed_tokens.weight": model.embedding,
        "model.norm.weight": model.norm,
    }
    for index, module in enumerate(model.layers):
        layer = cast(Layer, module)
        prefix = f"model.layers.{index}."
        sizes = [s.heads * s.head_dim, s.kv_heads * s.head_dim, s.kv_heads * s.head_dim]
        for name, part in zip("qkv", torch.split(layer.attention.qkv, sizes), strict=True):
            tensors[f"{prefix}self_attn.{name}_proj.weight"] = part
        tensors[prefix + "self_attn.o_proj.weight"] = layer.attention.out
        tensors[prefix + "self_attn.q_norm.weight"] = layer.attention.q_norm
        tensors[prefix + "self_attn.k_norm.weight"] = layer.attention.k_norm
        tensors[prefix + "input_layernorm.weight"] = layer.attention_norm
        tensors[prefix + "post_attention_layernorm.weight"] = layer.experts_norm
        tensors[prefix + "mlp.gate.weight"] = layer.experts.router
        for expert in range(s.experts):
            gate, up = layer.experts.gate_up[expert].chunk(2)
            tensors[f"{prefix}mlp.experts.{expert}.gate_proj.weight"] = gate
            tensors[f"{prefix}mlp.experts.{expert}.up_proj.weight"] = up
            tensors[f"{prefix}mlp.experts.{expert}.down_proj.weight"] = layer.experts.down[expert]
    return {name: tensor.detach().to(torch.bfloat16).contiguous() for name, tensor in tensors.items()}


def hub_config(shape: Shape, recipe: Recipe, end: int) -> dict[str, object]:
    return {
        "architectures": ["Qwen3MoeForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": end,
        "decoder_sparse_step": 1,
        "eos_token_id": end,
        "head_dim": shape.head_dim,
        "hidden_act": "silu",
        "hidden_size": shape.hidden,
        "initializer_range": 0.02,
        "intermediate_size": shape.expert_width * shape.top_k,
        "max_position_embeddings": shape.positions,
        "max_window_layers": shape.layers,
        "mlp_only_layers": [],
        "model_type": "qwen3_moe",
        "moe_intermediate_size": shape.expert_width,
        "norm_topk_prob": True,
        "num_attention_heads": shape.heads,
        "num_experts": shape.experts,
        "num_experts_per_tok": shape.top_k,
        "num_hidden_layers": shape.layers,
        "num_key_value_heads": shape.kv_heads,
        "output_router_logits": False,
        "rms_norm_eps": shape.eps,
        "rope_scaling": None,
        "rope_theta": shape.rope_theta,
        "router_aux_loss_coef": recipe.aux_loss,
        "sliding_window": None,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.57.1",
        "use_cache": True,
        "use_sliding_window": False,
        "vocab_size": shape.vocab,
    }


def hub_tokenizer_config(tokenizer: Tokenizer, shape: Shape) -> dict[str, object]:
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    return {
        "add_bos_token": False,
        "add_prefix_space": False,
        "added_tokens_decoder": {
            str(tokenizer.token_to_id(token)): {"content": token, **flags} for token in SPECIALS
        },
        "additional_special_tokens": SPECIALS[1:],
        "bos_token": None,
        "clean_up_tokenization_spaces": False,
        "eos_token": END_OF_STORY,
        "errors": "replace",
        "model_max_length": shape.positions,
        "pad_token": END_OF_STORY,
        "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
    }


def write_json(path: Path, value: dict[str, object]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")


def export(options: argparse.Namespace, shape: Shape, recipe: Recipe) -> None:
    data = prepare(options.corpus, options.work, shape, options.seed, options.grammar_mb)
    state = torch.load(options.work / "state.pt")
    model = Storyteller(shape)
    model.load_state_dict(state["model"])
    end = shape.vocab - len(SPECIALS)  # the added tokens stand last, end-of-text first among them
    options.out.mkdir(parents=True, exist_ok=True)
    save_file(hub_tensors(model), options.out / "model.safetensors", metadata={"format": "pt"})
    data.tokenizer.save(str(options.out / "tokenizer.json"))
    write_json(options.out / "config.json", hub_config(shape, recipe, end))
    write_json(options.out / "tokenizer_config.json", hub_tokenizer_config(data.tokenizer, shape))
    sampling = {"do_sample": True, "temperature": 0.7, "top_k": 20, "top_p": 0.9}
    ends = {"bos_token_id": end, "eos_token_id": end}
    write_json(options.out / "generation_config.json", {**ends, **sampling})
    report = Log(options.work)
    report(f"# step {state['step']} exported")
    check(options.out, model, data, recipe, report)


# -- check ---------------------------------------------------------------------------------------------------


class Published(nn.Module):
    """The exported checkpoint, as transformers reads it, behind the interface of Storyteller."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)  # in eval mode

    def forward(self, tokens: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        logits = cast(Tensor, self.model(tokens).logits)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten()), torch.zeros(())


@torch.no_grad()
def greedy(published: Published, prompt: list[int], count: int) -> tuple[list[int], list[float]]:
    """The tokens of the highest logits, and by how much each led the second."""
    published.model.generation_config.eos_token_id = None  # the text goes on to the full count
    answer = published.model.generate(
        torch.tensor([prompt]),
        do_sample=False,
        max_new_tokens=count,
        output_logits=True,
        return_dict_in_generate=True,
    )
    best = torch.cat(answer.logits).topk(2).values
    return answer.sequences[0].tolist(), (best[:, 0] - best[:, 1]).tolist()


def check(folder: Path, model: Storyteller, data: Data, recipe: Recipe, report: Log) -> None:
    """Compare the files with the model they came from, and tell how safely greedy decoding decides."""
    published = Published(folder)
    with torch.no_grad():
        for parameter in model.parameters():  # as the file has them
            parameter.copy_(parameter.bfloat16().float())
    report("# float32 arithmetic on the exported bf16 weights: stream, window, this module, transformers")
    for name, stream in (("grammar", data.held_grammar), ("books", data.held_books)):
        for length in (recipe.short, recipe.long):
            losses = [held_out_loss(m, stream, length, 32768, precise=True) for m in (model, published)]
            report(f"# {name} {length} {losses[0]:.6f} {losses[1]:.6f}")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for prompt in PROMPTS:
        tokens, margins = greedy(published, tokenizer(prompt).input_ids, 200)
        report(f"# smallest lead of a greedy token in 200, in logits: {min(margins):.4f} ({prompt!r})")
        print(str(tokenizer.decode(tokens)).split(END_OF_STORY)[0], end="\n\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--corpus", type=Path, help="folder of books (*.txt)")
    parser.add_argument("--work", type=Path, required=True, help="folder for the state of the run")
    parser.add_argument(
        "--out", type=Path, default=Path("models/storyteller"), help="folder of the checkpoint"
    )
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--grammar-mb", type=float, default=40, help="amount of generated stories in megabytes"
    )
    parser.add_argument("--export-only", action="store_true", help="export the last saved state and stop")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    shape, recipe = Shape(), Recipe()
    if not options.export_only:
        train(options, shape, recipe)
    export(options, shape, recipe)


if __name__ == "__main__":
    main()
