"""The committed fixtures of quantised storage, by family. They hold what the forms differ in: who is
quantised and who is not, parameters by module, scales of every dtype, partial blocks, tensors of other
layers. Sizes are small multiples of the groups; where one is not, the module beside it stays plain, as in
real files."""

from __future__ import annotations

from families.family import ABSENT, Case, case

FEW = ("hidden", "experts", "router")  # of the larger ones
SMALL_LATENT = {
    "hidden_size": 64,
    "intermediate_size": 64,
    "kv_lora_rank": 64,
    "moe_intermediate_size": 32,
    "q_lora_rank": 32,
    "qk_nope_head_dim": 32,
    "qk_rope_head_dim": 8,
    "v_head_dim": 16,
}

CASES: dict[str, tuple[Case, ...]] = {
    "qwen3_moe": (
        case(
            "mlx4-g64",
            {"hidden_size": 128, "moe_intermediate_size": 64, "vocab_size": 80},
            storage="mlx4-g64",
        ),
        # tied: the quantised embedding is the head
        case(
            "mlx4-g32-tied",
            {
                "hidden_size": 64,
                "moe_intermediate_size": 96,
                "attention_bias": True,
                "tie_word_embeddings": True,
            },
            storage="mlx4-g32",
            dtypes=("F16",),
            style="v5",
            shards=2,
        ),
        # 48 columns are no multiple of 64: down_proj stays plain
        case(
            "mlx8-g64",
            {"hidden_size": 64, "moe_intermediate_size": 48},
            storage="mlx8-g64",
            dtypes=("F32",),
        ),
        # 2, 3, 4, 5, 6 and 8 bits, groups of 32, 64 and 128, and plain modules named in config.json
        case(
            "mlx-mixed",
            {
                "hidden_size": 128,
                "intermediate_size": 64,
                "mlp_only_layers": [1],
                "moe_intermediate_size": 32,
                "num_experts": 4,
                "num_hidden_layers": 3,
            },
            storage="mlx-mixed-g32",
            dtypes=("F32", "BF16", "F16"),
            shards=3,
            unaligned=True,
            wanted=FEW,
        ),
        # partial blocks: 160 = 128 + 32, 136 = 128 + 8
        case(
            "fp8",
            {
                "head_dim": 40,
                "hidden_size": 160,
                "moe_intermediate_size": 136,
                "num_experts": 3,
                "num_hidden_layers": 1,
            },
            storage="fp8",
        ),
    ),
    "olmoe": (
        case(
            "mlx4-g128",
            {"hidden_size": 128, "intermediate_size": 128, "num_experts": 4, "num_hidden_layers": 1},
            storage="mlx4-g128",
            dtypes=("F32",),
        ),
    ),
    "qwen2_moe": (
        # router and shared_expert_gate are quantised like the rest; .bias beside .biases
        case(
            "mlx4-g64",
            {"hidden_size": 64, "moe_intermediate_size": 64, "shared_expert_intermediate_size": 128},
            storage="mlx4-g64",
        ),
    ),
    "mixtral": (
        case("mlx3-g32", {"hidden_size": 64, "intermediate_size": 64}, storage="mlx3-g32", dtypes=("F16",)),
        case(
            "fp8",
            {"hidden_size": 136, "intermediate_size": 36, "num_hidden_layers": 1, "num_local_experts": 3},
            storage="fp8-bf16",
            dtypes=("F32", "BF16", "F16"),
            unaligned=True,
            shards=2,
        ),
    ),
    "deepseek_v2": (case("mlx4-g32", SMALL_LATENT, storage="mlx4-g32"),),
    "deepseek_v3": (
        case("mlx4-g32", SMALL_LATENT, storage="mlx4-g32"),
        case("mlx4-g32-kvb", SMALL_LATENT, storage="mlx4-g32-kvb", dtypes=("F16",)),
        # 24 columns: embed_q stays plain beside a quantised unembed_out
        case(
            "mlx6-g32",
            {**SMALL_LATENT, "q_lora_rank": None, "qk_nope_head_dim": 24},
            storage="mlx6-g32",
        ),
        case(
            "fp8",
            {
                "hidden_size": 132,
                "kv_lora_rank": 136,
                "moe_intermediate_size": 40,
                "n_group": 2,
                "n_routed_experts": 4,
                "n_shared_experts": 4,
                "first_k_dense_replace": 0,
                "num_experts_per_tok": 2,
                "num_hidden_layers": 1,
                "topk_group": 1,
            },
            storage="fp8",
            mtp=True,
            wanted=FEW,
        ),
    ),
    "phimoe": (
        # a quantised lm_head with a bias of its own
        case(
            "mlx5-g32",
            {
                "attention_bias": True,
                "hidden_size": 64,
                "intermediate_size": 64,
                "lm_head_bias": True,
                "num_attention_heads": 8,
            },
            storage="mlx5-g32",
        ),
    ),
    "glm4_moe": (
        case(
            "mlx4-g64",
            {"hidden_size": 64, "intermediate_size": 64, "moe_intermediate_size": 64},
            storage="mlx4-g64",
        ),
        case(
            "fp8",
            {
                "first_k_dense_replace": 0,
                "head_dim": 36,
                "hidden_size": 132,
                "moe_intermediate_size": 40,
                "n_routed_experts": 3,
                "num_hidden_layers": 1,
            },
            storage="fp8-bf16",
            mtp=True,
            wanted=FEW,
            unaligned=True,
        ),
    ),
    "dots1": (
        case(
            "mlx4-g32",
            {"hidden_size": 64, "intermediate_size": 64, "moe_intermediate_size": 32},
            storage="mlx4-g32",
        ),
    ),
    "gpt_oss": (
        case("mxfp4", {"hidden_size": 96, "intermediate_size": 64}, storage="mxfp4"),
        case("mlx4-g32", {"hidden_size": 64, "intermediate_size": 96}, storage="mlx4-g32"),
        # mxfp4 throughout, but for the router, whose override without a mode is affine
        case("mlx-mxfp4", {"hidden_size": 64, "intermediate_size": 64}, storage="mlx-mxfp4"),
        case(
            "mlx-mxfp4-q8",
            {"hidden_size": 64, "intermediate_size": 32, "attention_bias": ABSENT},
            storage="mlx-mxfp4-q8",
            shards=2,
        ),
    ),
}
