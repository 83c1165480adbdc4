#!/usr/bin/env python3
"""scripts/dequantise.py against numbers that others computed, and scripts/quantise.py against it.

The formats are compared with what mlx (committed vectors) and transformers make of the same bytes, bit for
bit; whole checkpoints with the plain ones that they were made of, within the error of the format. Exits with
77 where torch or transformers is not installed.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
try:
    import torch
    import transformers  # noqa: F401
    from hypothesis import given, settings
    from hypothesis import strategies as st
except ImportError:
    print("skipped: no torch, transformers or hypothesis for this Python")
    sys.exit(77)

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import dequantise as dq  # noqa: E402
import schemes as q  # noqa: E402
from quantise import quantise_checkpoint  # noqa: E402
from random_checkpoint import write_safetensors  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from torch import Tensor  # noqa: E402

VECTORS = load_file(ROOT / "tests" / "fixtures" / "quantised" / "mlx.safetensors")
FP4 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
Config = dict[str, Any]
Tensors = dict[str, Tensor]


def same_bits(a: Tensor, b: Tensor) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a.view(torch.uint8), b.view(torch.uint8))


def random_bytes(seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


class Affine(unittest.TestCase):
    def test_mlx_reads_the_same(self) -> None:
        for bits in q.MLX_BITS:
            for group in q.MLX_GROUPS:
                with self.subTest(bits=bits, group=group):
                    v = {
                        k: VECTORS[f"affine.{bits}.{group}.{k}"]
                        for k in ("weight", "scales", "biases", "values")
                    }
                    values = dq.dequantise_affine(v["weight"], v["scales"], v["biases"], bits, group)
                    self.assertTrue(same_bits(values, v["values"]))

    def test_mlx_writes_the_same(self) -> None:
        names = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}
        for bits in q.MLX_BITS:
            for group in q.MLX_GROUPS:
                with self.subTest(bits=bits, group=group):
                    v = {k: VECTORS[f"affine.{bits}.{group}.{k}"] for k in ("weight", "scales", "biases")}
                    source = VECTORS["source"].to(v["scales"].dtype).to(torch.float32)
                    made = q.quantise_affine(source, bits, group, names[v["scales"].dtype])
                    for mine, theirs in zip(made, v.values(), strict=True):
                        self.assertTrue(same_bits(mine, theirs))

    @given(st.integers(0, 2**31), st.sampled_from(q.MLX_BITS), st.sampled_from((1, 2, 5)))
    @settings(max_examples=60, deadline=None)
    def test_packing(self, seed: int, bits: int, n: int) -> None:
        codes = random_bytes(seed, 3, n, 32 * n) & (1 << bits) - 1
        packed = q.pack_codes(codes, bits)
        self.assertEqual(packed.shape, (3, n, n * bits))
        # the definition, as an integer: code i is at bits*i of the row's little-endian bytes
        row = int.from_bytes(packed[-1, -1].numpy().tobytes(), "little")
        expected = [row >> bits * i & (1 << bits) - 1 for i in range(32 * n)]
        self.assertEqual(codes[-1, -1].tolist(), expected)
        self.assertTrue(torch.equal(dq.unpack_codes(packed, bits), codes.to(torch.int64)))

    def test_two_roundings(self) -> None:
        """A fused multiply-add would give another last bit."""
        scales, biases = torch.tensor([[0.1]]), torch.tensor([[-0.7]])
        packed = q.pack_codes(torch.full((1, 32), 13, dtype=torch.uint8), 4)
        value = dq.dequantise_affine(packed, scales, biases, 4, 32)[0, 0]
        product = torch.tensor(0.1) * 13
        self.assertEqual(value, product - torch.tensor(0.7))
        self.assertNotEqual(
            float(value), float((torch.tensor(0.1).double() * 13 + torch.tensor(-0.7).double()).float())
        )


class Mxfp4(unittest.TestCase):
    def test_mlx_reads_the_same(self) -> None:
        codes = dq.unpack_codes(VECTORS["mxfp4.weight"], 4)
        self.assertTrue(
            same_bits(dq.dequantise_e2m1(codes, VECTORS["mxfp4.scales"]), VECTORS["mxfp4.values"])
        )

    def test_transformers_reads_the_same(self) -> None:
        """Every scale byte, 0 and 255 among them, with every code."""
        from transformers.integrations.mxfp4 import convert_moe_packed_tensors

        blocks = random_bytes(1, 2, 8, 32, 16)
        blocks[..., :8] = torch.arange(0x10, 0x110, 0x22)[:8].to(torch.uint8)  # codes 0 .. 15
        scales = torch.arange(512).to(torch.uint8).reshape(2, 8, 32)
        theirs = convert_moe_packed_tensors(blocks, scales, dtype=torch.float32)
        mine = dq.dequantise_blocks(blocks, scales)
        self.assertTrue(same_bits(mine.transpose(1, 2).contiguous(), theirs))

    def test_definition(self) -> None:
        blocks = torch.zeros(1, 1, 16, dtype=torch.uint8)
        blocks[0, 0, 3] = 0x9F  # elements 6 and 7: codes 15 and 9
        values = dq.dequantise_blocks(blocks, torch.tensor([[0]], dtype=torch.uint8))[0]
        self.assertEqual(values[6], -6.0 * 2.0**-127)
        self.assertEqual(values[7], -0.5 * 2.0**-127)
        self.assertEqual(values.abs().sum(), 6.5 * 2.0**-127)

    @given(st.integers(0, 2**31), st.integers(-100, 100))
    @settings(max_examples=60, deadline=None)
    def test_nearest(self, seed: int, exponent: int) -> None:
        weight = torch.randn(2, 64, generator=torch.Generator().manual_seed(seed)) * 2.0**exponent
        weight[0, :32] = 0.0
        codes, scales = q.quantise_e2m1(weight)
        self.assertEqual(scales[0, 0], 0)
        values = dq.dequantise_e2m1(codes, scales)
        self.assertTrue(torch.equal(values[0, :32].abs(), torch.zeros(32)))
        power = torch.pow(2.0, scales.to(torch.float64) - 127).repeat_interleave(32, 1)
        grid = torch.tensor([*(-v for v in FP4), *FP4], dtype=torch.float64)
        best = (weight.double().unsqueeze(-1) - grid * power.unsqueeze(-1)).abs().amin(-1)
        self.assertTrue(torch.equal((weight.double() - values.double()).abs(), best))
        self.assertTrue(torch.equal(dq.dequantise_blocks(*q.quantise_blocks(weight)), values))


class Fp8(unittest.TestCase):
    def test_transformers_reads_the_same(self) -> None:
        from transformers.integrations.finegrained_fp8 import Fp8Dequantize

        theirs = Fp8Dequantize(None)
        for n, (rows, cols) in enumerate(((128, 128), (256, 384))):
            codes = random_bytes(n, rows, cols)
            codes[codes & 127 == 127] = 0x42  # not a number
            for dtype in (torch.float32, torch.bfloat16):
                scale = torch.rand(rows // 128, cols // 128, generator=torch.Generator().manual_seed(n)).to(
                    dtype
                )
                expected = theirs._dequantize_one(codes.view(torch.float8_e4m3fn), scale, torch.float32)
                mine = dq.dequantise_fp8(codes.view(torch.float8_e4m3fn), scale, (128, 128))
                self.assertTrue(same_bits(mine, expected))

    def test_partial_blocks(self) -> None:
        """192 rows are a whole block and half of one, whatever the scale grid suggests."""
        codes = torch.ones(192, 200).to(torch.float8_e4m3fn)
        scale = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
        values = dq.dequantise_fp8(codes, scale, (128, 128))
        self.assertEqual(
            [values[127, 127], values[127, 128], values[128, 127], values[191, 199]], [1, 2, 3, 4]
        )

    def test_every_code(self) -> None:
        codes = torch.arange(256).to(torch.uint8)
        values = dq.dequantise_fp8(
            codes.view(1, 256).view(torch.float8_e4m3fn), torch.ones(1, 2), (128, 128)
        )[0]
        for code in range(256):
            mantissa, exponent = code & 7, code >> 3 & 15
            size = mantissa * 2.0**-9 if exponent == 0 else (8 + mantissa) * 2.0 ** (exponent - 10)
            if code & 127 == 127:
                self.assertTrue(values[code].isnan())
            else:
                self.assertEqual(values[code], -size if code & 128 else size)

    @given(st.integers(0, 2**31), st.integers(1, 300), st.integers(1, 300), st.sampled_from(("F32", "BF16")))
    @settings(max_examples=30, deadline=None)
    def test_error(self, seed: int, rows: int, cols: int, dtype: str) -> None:
        weight = torch.randn(rows, cols, generator=torch.Generator().manual_seed(seed))
        codes, scale = q.quantise_fp8(weight, dtype)
        self.assertEqual(scale.shape, (-(-rows // 128), -(-cols // 128)))
        values = dq.dequantise_fp8(codes, scale, (128, 128))
        # half a step of 3 bits, and what the largest loses where bf16 rounds the scale down
        self.assertLessEqual(
            float(((values - weight).abs() - weight.abs() / 16).max()), 5.0 / 448 / 512 + 5.0 / 256
        )


HIDDEN, WIDTH, RANK, HEADS, NOPE, VALUE, EXPERTS = 128, 96, 64, 2, 64, 32, 3
CONFIG: Config = {
    "hidden_size": HIDDEN,
    "num_attention_heads": HEADS,
    "num_hidden_layers": 2,
    "qk_nope_head_dim": NOPE,
    "torch_dtype": "float32",
}


def plain_tensors(family: str) -> Tensors:
    """A layer with everything that some layout moves, and one beyond the last."""
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (40, HIDDEN),
        "model.norm.weight": (HIDDEN,),
        "lm_head.weight": (40, HIDDEN),
    }
    for n in (0, 1, 2):
        layer = f"model.layers.{n}"
        shapes |= {
            f"{layer}.input_layernorm.weight": (HIDDEN,),
            f"{layer}.self_attn.q_proj.weight": (160, HIDDEN),
            f"{layer}.self_attn.q_proj.bias": (160,),
            f"{layer}.self_attn.o_proj.weight": (HIDDEN, 160),
            f"{layer}.self_attn.kv_b_proj.weight": (HEADS * (NOPE + VALUE), RANK),
        }
        block = f"{layer}.{'block_sparse_moe' if family == 'mixtral' else 'mlp'}"
        if family == "gpt_oss":
            shapes |= {
                f"{block}.router.weight": (EXPERTS, HIDDEN),
                f"{block}.router.bias": (EXPERTS,),
                f"{block}.experts.gate_up_proj": (EXPERTS, HIDDEN, 2 * WIDTH),
                f"{block}.experts.gate_up_proj_bias": (EXPERTS, 2 * WIDTH),
                f"{block}.experts.down_proj": (EXPERTS, WIDTH, HIDDEN),
                f"{block}.experts.down_proj_bias": (EXPERTS, HIDDEN),
            }
            continue
        shapes[f"{block}.gate.weight"] = (EXPERTS, HIDDEN)
        shapes[f"{block}.gate.e_score_correction_bias"] = (EXPERTS,)
        for e in range(EXPERTS):
            names = ("w1", "w3", "w2") if family == "mixtral" else ("gate_proj", "up_proj", "down_proj")
            for name, shape in zip(names, ((WIDTH, HIDDEN), (WIDTH, HIDDEN), (HIDDEN, WIDTH)), strict=True):
                shapes[f"{block}.experts.{e}.{name}.weight"] = shape
    generator = torch.Generator().manual_seed(3)
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


class Checkpoints(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def write_plain(self, family: str) -> tuple[Path, Tensors]:
        tensors = plain_tensors(family)
        path = self.folder / family
        path.mkdir()
        (path / "config.json").write_text(json.dumps({**CONFIG, "model_type": family}))
        (path / "generation_config.json").write_text("{}")
        write_safetensors(path / "model.safetensors", [(n, "F32", t) for n, t in tensors.items()])
        return path, tensors

    def quantised(self, family: str, scheme: str, seed: int = 0) -> tuple[Path, Tensors, Config, Tensors]:
        """The directory, what it holds, its config, the plain tensors."""
        src, plain = self.write_plain(family)
        dst = self.folder / f"{family}-{scheme}"
        quantise_checkpoint(src, dst, q.Scheme.parse(scheme), seed)
        held = {n: t.clone() for n, t in load_file(dst / "model.safetensors").items()}  # the file may change
        return dst, held, json.loads((dst / "config.json").read_text()), plain

    def check_back(self, quantised: Path, plain: Tensors, tolerance: float, mtp: bool) -> None:
        back = self.folder / "back"
        dq.dequantise_checkpoint(quantised, back)
        tensors = load_file(back / "model.safetensors")
        expected = {n: t for n, t in plain.items() if mtp or not n.startswith("model.layers.2.")}
        self.assertEqual({n: t.shape for n, t in tensors.items()}, {n: t.shape for n, t in expected.items()})
        for name, tensor in tensors.items():
            self.assertEqual(tensor.dtype, torch.float32)
            error = (tensor - expected[name]).abs().max() / expected[name].abs().max()
            self.assertLessEqual(float(error), tolerance, name)
        config = json.loads((back / "config.json").read_text())
        self.assertFalse({"quantization", "quantization_config"} & config.keys())
        self.assertTrue((back / "generation_config.json").exists())

    def test_round_trips(self) -> None:
        """Within the error of each format, under the names of the Hub. Of the largest weight: one step of at
        most twice that in affine codes, a quarter in E2M1 (8 becomes 6), a sixteenth in E4M3 and its scale's
        rounding."""
        tolerances = {f"mlx{bits}-g{g}": 2 / (2**bits - 1) for bits in q.MLX_BITS for g in (32, 64)}
        tolerances |= {"mlx4-g128": 2 / 15, "mlx-mixed-g32": 2 / 3, "mlx8-g64-kvb": 2 / 255}
        tolerances |= {"mlx-mxfp4": 1 / 4, "mlx-mxfp4-q8": 1 / 4, "fp8": 1 / 16, "fp8-bf16": 1 / 15}
        for family in ("qwen3_moe", "mixtral", "deepseek_v3", "dots1", "gpt_oss"):
            for scheme, tolerance in tolerances.items():
                if family == "gpt_oss" and scheme.startswith("fp8"):
                    continue
                with self.subTest(family=family, scheme=scheme):
                    path, _, _, plain = self.quantised(family, scheme)
                    self.check_back(path, plain, tolerance, mtp=scheme.startswith("fp8"))
                for child in self.folder.iterdir():
                    for file in child.iterdir():
                        file.unlink()
                    child.rmdir()

    def test_gpt_oss(self) -> None:
        path, tensors, config, plain = self.quantised("gpt_oss", "mxfp4")
        self.assertEqual(
            tensors["model.layers.0.mlp.experts.gate_up_proj_blocks"].shape, (EXPERTS, 192, 4, 16)
        )
        self.assertEqual(tensors["model.layers.0.mlp.experts.down_proj_scales"].shape, (EXPERTS, 128, 3))
        self.assertEqual(config["quantization_config"]["quant_method"], "mxfp4")
        self.assertFalse(dq.is_plain(path))
        self.check_back(path, plain, 1 / 4, mtp=True)

    def test_mlx_layout(self) -> None:
        _, tensors, config, _ = self.quantised("deepseek_v3", "mlx4-g64")
        attention, block = "model.layers.0.self_attn", "model.layers.0.mlp"
        expected = {
            "model.embed_tokens.weight": (40, 16),
            "model.embed_tokens.scales": (40, 2),
            f"{attention}.embed_q.weight": (HEADS, RANK, 8),
            f"{attention}.embed_q.biases": (HEADS, RANK, 1),
            f"{attention}.unembed_out.scales": (HEADS, VALUE, 1),
            f"{block}.switch_mlp.gate_proj.weight": (EXPERTS, WIDTH, 16),
            f"{block}.switch_mlp.down_proj.weight": (
                EXPERTS,
                HIDDEN,
                WIDTH,
            ),  # 96 is no multiple of 64: plain
            f"{block}.gate.weight": (EXPERTS, HIDDEN),
        }
        self.assertEqual({n: tuple(tensors[n].shape) for n in expected}, expected)
        self.assertFalse(any("kv_b_proj" in n or n.startswith("model.layers.2.") for n in tensors))
        self.assertFalse(
            any(f"{n}.scales" in tensors for n in (f"{block}.switch_mlp.down_proj", f"{block}.gate"))
        )
        self.assertEqual(config["quantization"], {"group_size": 64, "bits": 4, "mode": "affine"})
        self.assertEqual(config["quantization_config"], config["quantization"])

    def test_mlx_router(self) -> None:
        _, tensors, config, _ = self.quantised("qwen3_moe", "mlx4-g64")
        own = {"group_size": 64, "bits": 8}
        self.assertEqual(config["quantization"]["model.layers.1.mlp.gate"], own)
        self.assertEqual(tensors["model.layers.1.mlp.gate.weight"].shape, (EXPERTS, HIDDEN // 4))
        self.assertEqual(len(config["quantization"]), 5)

    def test_override_without_mode_is_affine(self) -> None:
        _, tensors, config, _ = self.quantised("qwen3_moe", "mlx-mxfp4")
        self.assertEqual(config["quantization"]["mode"], "mxfp4")
        self.assertIn("model.layers.0.mlp.gate.biases", tensors)
        self.assertNotIn("model.layers.0.self_attn.q_proj.biases", tensors)
        self.assertEqual(tensors["model.layers.0.self_attn.q_proj.scales"].dtype, torch.uint8)

    def test_override_takes_nothing_from_the_top(self) -> None:
        path, tensors, config, plain = self.quantised("mixtral", "mlx8-g64")
        top = {**config["quantization"], "bits": 4, "group_size": 32}
        modules = [name.removesuffix(".scales") for name in tensors if name.endswith(".scales")]
        overrides: Config = {module: {"bits": 8} for module in modules}  # groups of 64, mlx's default
        self.change(path, tensors, {**config, "quantization": {**top, **overrides}})
        self.check_back(path, plain, 2 / 255, mtp=False)
        overrides = dict.fromkeys(modules, True)
        self.change(path, tensors, {**config, "quantization": {**config["quantization"], **overrides}})
        self.check_back(path, plain, 2 / 255, mtp=False)

    def test_mixed(self) -> None:
        _, tensors, config, _ = self.quantised("mixtral", "mlx-mixed-g32", seed=3)
        own = {k: v for k, v in config["quantization"].items() if "." in k}
        self.assertIn(False, own.values())
        self.assertGreater(len({v["bits"] for v in own.values() if v}), 3)
        for module, parameters in own.items():
            self.assertEqual(f"{module}.scales" in tensors, bool(parameters), module)

    def test_fp8_names(self) -> None:
        _, tensors, config, _ = self.quantised("qwen3_moe", "fp8")
        fp8 = {n for n, t in tensors.items() if t.dtype == torch.float8_e4m3fn}
        self.assertEqual({f"{n}_scale_inv" for n in fp8}, {n for n in tensors if n.endswith("_scale_inv")})
        self.assertIn("model.layers.2.mlp.experts.0.up_proj.weight", fp8)
        self.assertEqual(tensors["model.layers.0.self_attn.q_proj.weight_scale_inv"].shape, (2, 1))
        for name in ("lm_head", "model.embed_tokens", "model.layers.0.mlp.gate", "model.norm"):
            self.assertNotIn(f"{name}.weight", fp8)
        self.assertIn("model.layers.0.mlp.gate", config["quantization_config"]["modules_to_not_convert"])

    def refusal(self, path: Path) -> str:
        with self.assertRaises(dq.DequantiseError) as caught:
            dq.dequantise_checkpoint(path, self.folder / "refused")
        return str(caught.exception)

    def change(self, path: Path, tensors: Tensors, config: Config) -> None:
        names = {torch.uint8: "U8", torch.uint32: "U32", torch.float8_e4m3fn: "F8_E4M3", torch.float32: "F32"}
        entries = [(n, names[t.dtype], t) for n, t in tensors.items()]
        write_safetensors(path / "model.safetensors", entries)
        (path / "config.json").write_text(json.dumps(config))

    def test_refusals(self) -> None:
        path, tensors, config, _ = self.quantised("qwen3_moe", "mlx4-g64")
        module = "model.layers.0.self_attn.q_proj"
        top = config["quantization"]
        changes: list[tuple[Tensors, Config, str]] = [
            (
                {**tensors, f"{module}.scales": tensors[f"{module}.scales"][:, :1]},
                config,
                f"{module}.weight: U32",
            ),
            (
                {n: t for n, t in tensors.items() if n != f"{module}.biases"},
                config,
                f"{module}.biases is missing",
            ),
            (
                {n: t for n, t in tensors.items() if n != f"{module}.weight"},
                config,
                f"{module}.weight is missing",
            ),
            ({n: t for n, t in tensors.items() if n != f"{module}.scales"}, config, "without its scales"),
            (tensors, {**config, "quantization": {**top, module: False}}, "expected bits and group_size"),
            (
                tensors,
                {**config, "quantization": {**top, "bits": 3}},
                "lm_head.weight: U32 [40, 16], expected U32 [40, 12]",
            ),
            (
                tensors,
                {**config, "quantization": {**top, "mode": "nvfp4"}},
                "nvfp4, 4 bits, groups of 64: unknown",
            ),
            (tensors, {**config, "quantization": {"quant_method": "awq"}}, 'quant_method: "awq" is unknown'),
        ]
        for changed, changed_config, expected in changes:
            with self.subTest(expected=expected):
                self.change(path, changed, changed_config)
                self.assertIn(expected, self.refusal(path))

    def test_fp8_refusals(self) -> None:
        path, tensors, config, _ = self.quantised("qwen3_moe", "fp8")
        scale = "model.layers.0.self_attn.q_proj.weight_scale_inv"
        self.change(path, {n: t for n, t in tensors.items() if n != scale}, config)
        self.assertIn(f"{scale} is missing", self.refusal(path))
        self.change(path, {**tensors, scale: tensors[scale][:1]}, config)
        self.assertIn(f"{scale}: F32 [1, 1], expected F32/BF16/F16 [2, 1]", self.refusal(path))

    def test_plain_is_plain(self) -> None:
        path, plain = self.write_plain("qwen3_moe")
        self.assertTrue(dq.is_plain(path))
        self.check_back(path, plain, 0.0, mtp=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    unittest.main()
