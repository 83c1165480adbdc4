#!/usr/bin/env python3
"""Writes the tokenizer fixtures: a small tokenizer in the style of each model family, and what the package
`tokenizers` makes of texts with it.

    python scripts/make_tokenizer_vectors.py tests/fixtures/tokenizers

For every family NAME there are NAME/tokenizer.json, trained here on a few sentences in many scripts, with the
family's own normalizer, pre-tokenizer, flags, decoder, post-processor and kinds of added tokens; and
NAME/vectors.json: texts with their ids (without and with special tokens), ids with their texts (with and
without special tokens).
"""

from __future__ import annotations

import argparse
import copy
import json
import random
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, models, trainers
from tokenizers.pre_tokenizers import ByteLevel

Json = dict[str, Any]

SENTENCES = """\
The quick brown fox jumps over the lazy dog, and the dog doesn't mind at all.
It's 12:45 on 2024-03-17; we've paid $1,234.56 for 3 tickets (they'll arrive tomorrow, I'd say).
def encode(text: str) -> list[int]:\n    return [ord(c) for c in text]  # naïve\n\n
for (int i = 0; i < 100; i++) {\n\tprintf("%d\\n", i);\n}\n
Whenever the weather is cold, whenever the weather is hot, we'll weather the weather, whatever the weather.
Mixture-of-experts models route every token to a few of many experts, and combine what these return.
Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich; das ist übrigens ein Straßenfest.
Voix ambiguë d'un cœur qui, au zéphyr, préfère les jattes de kiwis. Où êtes-vous, l'été dernier ?
El pingüino Wenceslao hizo kilómetros bajo exhaustiva lluvia y frío; añoraba a su querido cachorro.
Příliš žluťoučký kůň úpěl ďábelské ódy. Pchnąć w tę łódź jeża lub ośm skrzyń fig.
Съешь же ещё этих мягких французских булок, да выпей чаю. Привет, мир!
Ξεσκεπάζω την ψυχοφθόρα βδελυγμία. Καλημέρα κόσμε, τι κάνετε;
דג סקרן שט בים מאוכזב ולפתע מצא חברה. שָׁלוֹם
نص حكيم له سر قاطع وذو شأن عظيم مكتوب على ثوب أخضر ومغلف بجلد أزرق. السَّلَامُ عَلَيْكُمْ ١٢٣٤٥
ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण का सर्वनाश हुआ। नमस्ते दुनिया १२३
กลางวันแสกๆ ฉันกินข้าวกับพี่ชาย เขาพูดว่าสวัสดีชาวโลก ๑๒๓
天地玄黃，宇宙洪荒。日月盈昃，辰宿列張。你好，世界！今天的天气很好，我们一起去公园吧。
いろはにほへと　ちりぬるを。カタカナとひらがな、こんにちは世界！東京タワーは333メートルです。
키스의 고유조건은 입술끼리 만나야 하고 특별한 기술은 필요치 않다. 안녕하세요 세계!
Chú bé đọc sách dưới bóng cây, rồi về nhà nấu cơm. Tiếng Việt có nhiều dấu thanh.
Pijamalı hasta yağız şoföre çabucak güvendi. İstanbul'da ILIK bir gün, ışık ve ıspanak.
👍🏽 👩‍👩‍👧‍👦 🇩🇪 ❤️ 😀😃😄 ½ ² Ⅷ ①② ₿ € £ ¥ → ∑ ≤ ∞ … — “quotes” «guillemets» ‚low‘
{"name": "moe", "values": [1, 2, 3], "nested": {"a": null, "b": true}} https://example.org/a?b=c&d=%20e
"""

CORPUS = [line + "\n" for line in SENTENCES.split("\n")] * 4 + [
    w for w in SENTENCES.split() for _ in range(2)
]

CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
TAIL = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*" + TAIL
QWEN35 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*" + TAIL
CL100K = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*" + TAIL
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
O200K = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{CONTRACTIONS}?|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{CONTRACTIONS}?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*" + TAIL
)
# tiktoken's way to write it, with a set operation, as some converted files have it
NOT_HAN = r"&&[^\p{Han}]]"
UPPER_NOT_HAN, LOWER_NOT_HAN = UPPER[:-1] + NOT_HAN, LOWER[:-1] + NOT_HAN
KIMI = (
    rf"[\p{{Han}}]+|[^\r\n\p{{L}}\p{{N}}]?{UPPER_NOT_HAN}*{LOWER_NOT_HAN}+{CONTRACTIONS}?"
    rf"|[^\r\n\p{{L}}\p{{N}}]?{UPPER_NOT_HAN}+{LOWER_NOT_HAN}*{CONTRACTIONS}?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*" + TAIL
)
POSSESSIVE = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$"
    r"|\s*[\r\n]|\s+(?!\S)|\s"
)
DEEPSEEK_V3 = [
    r"\p{N}{1,3}",
    "[一-龥぀-ゟ゠-ヿ]+",
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
    r"| ?[\p{P}\p{S}]+[\r\n]*" + TAIL,
]
# The cased letters, as that file spells them out: "first-last" or one code point, in hexadecimal.
CASED = """
41-5A 61-7A B5 C0-D6 D8-F6 F8-1BA 1BC-1BF 1C4-293 295-2AF 370-373 376 377 37B-37D 37F 386 388-38A
38C 38E-3A1 3A3-3F5 3F7-481 48A-52F 531-556 10A0-10C5 13A0-13F5 13F8-13FD 1C90-1CBA 1CBD-1CBF
1D00-1D2B 1D6B-1D77 1D79-1D9A 1E00-1F15 1F18-1F1D 1F20-1F45 1F48-1F4D 1F50-1F57 1F59 1F5B 1F5D
1F5F-1F7D 1F80-1FB4 1FB6-1FBC 1FBE 1FC2-1FC4 1FC6-1FCC 1FD0-1FD3 1FD6-1FDB 1FE0-1FEC 1FF2-1FF4
1FF6-1FFC 2102 2107 210A-2113 2115 2119-211D 2124 2126 2128 212A-212D 212F-2134 2139 213C-213F
2145-2149 214E 2183 2184 2C00-2C7B 2C7E-2CE4 2CEB-2CEE 2CF2 2CF3 A640-A66D A680-A69B A722-A76F
A771-A787 A78B-A78E AB70-ABBF FB00-FB06 FB13-FB17 FF21-FF3A FF41-FF5A 10400-1044F 104B0-104D3
104D8-104FB 10C80-10CB2 10CC0-10CF2 118A0-118DF 1E900-1E943
""".split()
DEEPSEEK_V2 = [
    "[\r\n]",
    r"\s?[" + "".join("-".join(chr(int(c, 16)) for c in r.split("-")) for r in CASED) + "]+",
    "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+",
    r"\s+$",
    "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+",
]

BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
BYTE_LEVEL_REGEX = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
BYTE_DECODER = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
NFC = {"type": "NFC"}
LEGACY_SP = {
    "type": "Sequence",
    "normalizers": [
        {"type": "Prepend", "prepend": "▁"},
        {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
    ],
}
METASPACE_FIRST = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}
SP_STEPS = [
    {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
    {"type": "ByteFallback"},
    {"type": "Fuse"},
]
STRIP = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
SP_DECODER = {"type": "Sequence", "decoders": [*SP_STEPS, STRIP]}


def split(pattern: str, behavior: str = "Isolated", invert: bool = False) -> Json:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": invert}


def pre(*steps: Json) -> Json:
    return {"type": "Sequence", "pretokenizers": list(steps)}


def template(*pieces: str) -> Json:
    """Names of special tokens, and "$A"; ids are filled in later."""
    single = [
        {"Sequence": {"id": "A", "type_id": 0}} if p == "$A" else {"SpecialToken": {"id": p, "type_id": 0}}
        for p in pieces
    ]
    tokens: Json = {p: {"id": p, "ids": [], "tokens": [p]} for p in pieces if p != "$A"}
    return {"type": "TemplateProcessing", "single": single, "pair": single, "special_tokens": tokens}


def special(*names: str, **flags: bool) -> list[AddedToken]:
    return [
        AddedToken(
            n, special=True, normalized=flags.get("normalized", False), rstrip=flags.get("rstrip", False)
        )
        for n in names
    ]


def plain(*names: str, **flags: bool) -> list[AddedToken]:
    return [AddedToken(n, special=False, **{"normalized": False, **flags}) for n in names]


class Family:
    def __init__(self, added: list[AddedToken], first: bool = False, **parts: Any) -> None:
        self.added = added
        self.first = first  # added tokens come before the vocabulary, and are part of it
        self.parts = parts


def byte_family(pre_tokenizer: Json, added: list[AddedToken], **parts: Any) -> Family:
    return Family(added, pre_tokenizer=pre_tokenizer, decoder=BYTE_DECODER, **parts)


QWEN_ADDED = special("<|endoftext|>", "<|im_start|>", "<|im_end|>") + plain(
    "<tool_call>", "</tool_call>", "<think>", "</think>"
)
SP_ADDED = special("<unk>", "<s>", "</s>")
NEOX_ADDED = special("<|endoftext|>", "<|padding|>") + plain(
    *[" " * n for n in range(24, 1, -1)], "|||IP_ADDRESS|||", normalized=True
)

FAMILIES: dict[str, Family] = {
    "qwen2": byte_family(
        pre(split(QWEN2), BYTE_LEVEL), QWEN_ADDED, normalizer=NFC, post_processor=BYTE_LEVEL
    ),
    "qwen35": byte_family(
        pre(split(QWEN35), BYTE_LEVEL), QWEN_ADDED, normalizer=NFC, post_processor=BYTE_LEVEL, lines=True
    ),
    "olmoe": byte_family(BYTE_LEVEL_REGEX, NEOX_ADDED, normalizer=NFC),
    "olmo2": byte_family(
        pre(split(CL100K, "Removed", True), BYTE_LEVEL),
        special("<|endoftext|>", "<|pad|>") + plain("|||PHONE|||"),
    ),
    "mixtral": Family(
        SP_ADDED,
        True,
        normalizer=LEGACY_SP,
        decoder=SP_DECODER,
        post_processor=template("<s>", "$A"),
        fallback=True,
    ),
    "mistral": Family(
        SP_ADDED + special("[INST]", "[/INST]"),
        True,
        pre_tokenizer=METASPACE_FIRST,
        decoder=SP_DECODER,
        post_processor=template("<s>", "$A"),
        fallback=True,
    ),
    "phimoe": Family(
        special("<unk>", "<s>")
        + plain("</s>", rstrip=True)
        + special("<|user|>", "<|end|>", "<|assistant|>", rstrip=True),
        True,
        normalizer=LEGACY_SP,
        decoder=SP_DECODER,
        post_processor=template("$A"),
        fallback=True,
    ),
    "ernie": Family(
        SP_ADDED + special("<|im_start|>", "<|im_end|>"),
        True,
        normalizer={"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        decoder={"type": "Sequence", "decoders": SP_STEPS},
        fallback=True,
    ),
    "deepseek_v2": byte_family(
        pre(*map(split, DEEPSEEK_V2), {"type": "Digits", "individual_digits": True}, BYTE_LEVEL),
        special("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", normalized=True),
        normalizer={"type": "Sequence", "normalizers": []},
        post_processor=BYTE_LEVEL,
        absent=True,
    ),
    "deepseek_v3": byte_family(
        pre(*map(split, DEEPSEEK_V3), BYTE_LEVEL),
        special("<｜begin▁of▁sentence｜>", "<｜▁pad▁｜>")
        + plain("<｜User｜>", "<｜Assistant｜>", "<think>", normalized=True),
        normalizer={"type": "Sequence", "normalizers": []},
        post_processor=BYTE_LEVEL,
    ),
    "glm4": byte_family(
        pre(split(CL100K), BYTE_LEVEL),
        special("<|endoftext|>", "[MASK]", "[gMASK]", "<sop>", "<|user|>") + plain("<think>"),
        post_processor={"type": "Sequence", "processors": [BYTE_LEVEL, template("[gMASK]", "<sop>", "$A")]},
        ignore=True,
    ),
    "gpt_oss": byte_family(
        pre(split(O200K), BYTE_LEVEL),
        special("<|startoftext|>", "<|end|>", "<|channel|>"),
        post_processor=BYTE_LEVEL,
    ),
    "minimax": byte_family(
        pre(split(O200K, "Removed", True), BYTE_LEVEL),
        special("]~!b[", "[e~[") + plain("<think>", "</think>"),
        normalizer=NFC,
    ),
    "llama3": byte_family(
        pre(split(CL100K), BYTE_LEVEL),
        special("<|begin_of_text|>", "<|eot_id|>"),
        ignore=True,
        post_processor={"type": "Sequence", "processors": [BYTE_LEVEL, template("<|begin_of_text|>", "$A")]},
    ),
    "kimi": byte_family(pre(split(KIMI), BYTE_LEVEL), special("[BOS]", "[EOS]"), lines=True),
    "possessive": byte_family(
        pre(
            split(POSSESSIVE),
            {"type": "Digits", "individual_digits": False},
            {**BYTE_LEVEL, "add_prefix_space": True},
        ),
        special("<|end|>") + plain("word", single_word=True) + plain("<l>", lstrip=True, normalized=True),
        normalizer={"type": "NFKC"},
    ),
    # the components that no family above has
    "behaviors": Family(
        [AddedToken("<mask>", lstrip=True, special=True)],
        unk="<mask>",
        normalizer={
            "type": "Sequence",
            "normalizers": [
                {"type": "NFKD"},
                {
                    "type": "Replace",
                    "pattern": {"Regex": r"[\p{Mn}&&[^\x{302}]]+|(?<=\d),(?=\d)"},
                    "content": "",
                },
            ],
        },
        pre_tokenizer=pre(
            split(r"[^\S ]+", "MergedWithPrevious"),
            split(r"\p{Lu}\p{Ll}*\b", "Contiguous"),
            {"type": "Split", "pattern": {"String": "th"}, "behavior": "MergedWithNext", "invert": False},
            {"type": "Metaspace", "replacement": "_", "prepend_scheme": "always"},
        ),
        decoder={"type": "Metaspace", "replacement": "_", "prepend_scheme": "always", "split": True},
    ),
    "bare": Family(plain("<x>") + special("<y>"), post_processor=template("$A", "<y>")),
}


def train(family: Family) -> Json:
    parts = family.parts
    tokenizer = Tokenizer(models.BPE())
    blank = json.loads(tokenizer.to_str())
    blank.update({k: parts.get(k) for k in ("normalizer", "pre_tokenizer", "decoder")})
    tokenizer = Tokenizer.from_str(json.dumps(blank))
    is_byte = (parts.get("decoder") or {}).get("type") == "ByteLevel"
    first = [t.content for t in family.added] if family.first else []
    if parts.get("fallback"):
        first += [f"<0x{b:02X}>" for b in range(256)]
    if parts.get("unk"):
        first.append(parts["unk"])
    trainer = trainers.BpeTrainer(
        vocab_size=1000 if parts.get("fallback") else 700,
        show_progress=False,
        special_tokens=first,
        limit_alphabet=400,
        max_token_length=16,
        initial_alphabet=ByteLevel.alphabet() if is_byte else [],
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    out: Json = json.loads(tokenizer.to_str())
    out["added_tokens"] = []
    model = out["model"]
    if parts.get("fallback"):
        model.update(byte_fallback=True, fuse_unk=True, unk_token="<unk>")
    if parts.get("unk"):
        model.update(unk_token=parts["unk"])
    if parts.get("ignore"):
        model["ignore_merges"] = True
        model["merges"] = model["merges"][: len(model["merges"]) * 3 // 4]  # some tokens cannot be merged to
    if parts.get("lines"):
        model["merges"] = [" ".join(pair) for pair in model["merges"]]
    if parts.get("absent"):
        for key in ("byte_fallback", "ignore_merges"):
            del model[key]
    tokenizer = Tokenizer.from_str(json.dumps(out))
    tokenizer.add_tokens(family.added)
    out["added_tokens"] = json.loads(tokenizer.to_str())["added_tokens"]
    out["post_processor"] = fill_ids(parts.get("post_processor"), tokenizer)
    return out


def fill_ids(processor: Json | None, tokenizer: Tokenizer) -> Json | None:
    if processor is None:
        return None
    filled = copy.deepcopy(processor)
    for p in filled.get("processors", [filled]):
        for name, token in p.get("special_tokens", {}).items():
            token["ids"] = [tokenizer.token_to_id(name)]
    return filled


EDGES = [
    "",
    " ",
    "  ",
    "\n",
    "\r\n",
    " \n",
    "\n ",
    "a",
    " a",
    "a ",
    "  a  b  ",
    "a" * 70,
    " " * 30,
    "a\n\n\nb",
    "\t\tx\t",
    "can't CAN'T won'ſ I'LL they'Re",
    "1234567 12 3",
    "٣٤٥٦ ೧೨೩ ⅧⅨ ²³",
    "x² + y³ = z½",
    "naïve cafe\u0301 a\u0323\u0307 q\u0307\u0323",
    "\u1e9b\u0323 \ufb01 \u212b \u0958 \u2126 \uac01\u11a8",
    "漢字かな交じり文，標點。",
    "𠀀𠀁 𪚥 丽",
    "👩‍👩‍👧‍👦 ❤️ 🏴‍☠️ 🇫🇷",
    "\u200b\u200d\ufeff\u00ad\u2060",
    "\u00a0\u2003\u3000\u2028\u2029\x85\x1c\x1f",
    "\u1c89\u1c8a \ua7cb\ua7dc \u1e4d0 \U00010d50\U00010d70 \U0001faf8 \u0897",
    "\u0378\U000e0000\uffff\U0010ffff",
    "ǅ ǈ ǋ Ǳ ᾈ",
    "ÀÉÎÕÜ àéîõü ĀāĂă",
    "ŐŰ ßſK Å",
    "..., !!! ??? --- ___ ***",
    "<|x|> </s <s <s> </s> [INST] <think>\n",
    "\u0951\u0301\u0300a",
    "a\u0300" * 5 + "\u0315\u0300\u05ae\u0062",
    "foo(bar)[baz]{qux}<quux>/\\|`~@#$%^&*",
    "e\u0301<|im_end|>\u0301e",
    "line one  \nline two   \n\n  line three   ",
    "▁▁a▁b",
    "Ġ Ċ ĉ Ń",
    "<0x41> <0xE4>",
]


def texts(tokenizer: Tokenizer, rng: random.Random) -> list[str]:
    added = [t.content for t in tokenizer.get_added_tokens_decoder().values()]
    lines = [s for s in SENTENCES.split("\n") if s]
    out = list(EDGES) + rng.sample(lines, 8)
    for _ in range(25):
        parts = [
            rng.choice(
                [rng.choice(added), rng.choice(EDGES), rng.choice(rng.choice(lines).split()), " ", "\n"]
            )
            for _ in range(6)
        ]
        out.append("".join(parts))
    return out


def vectors(tokenizer: Tokenizer, rng: random.Random) -> Json:
    encode, decode = [], []
    size = tokenizer.get_vocab_size(with_added_tokens=True)
    for text in texts(tokenizer, rng):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        encode.append(
            {"text": text, "ids": ids, "special": tokenizer.encode(text, add_special_tokens=True).ids}
        )
        decode.append(ids)
    for n in (0, 1, 2, 5, 12, 30, 30, 30):
        decode.append([rng.randrange(size + 3) for _ in range(n)])
    rows = [
        {
            "ids": ids,
            "text": tokenizer.decode(ids, skip_special_tokens=False),
            "skipped": tokenizer.decode(ids, skip_special_tokens=True),
        }
        for ids in decode
    ]
    return {"encode": encode, "decode": rows}


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("out", type=Path)
    args = ap.parse_args()
    for name, family in FAMILIES.items():
        rng = random.Random(name)
        folder = args.out / name
        folder.mkdir(parents=True, exist_ok=True)
        document = train(family)
        (folder / "tokenizer.json").write_text(
            json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n"
        )
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        rows = vectors(tokenizer, rng)
        lines = [json.dumps(r, ensure_ascii=True, separators=(",", ":")) for r in rows["encode"]]
        more = [json.dumps(r, ensure_ascii=True, separators=(",", ":")) for r in rows["decode"]]
        body = '{"encode":[\n' + ",\n".join(lines) + '\n],"decode":[\n' + ",\n".join(more) + "\n]}\n"
        (folder / "vectors.json").write_text(body)
        print(name, tokenizer.get_vocab_size(), len(document["model"]["merges"]))


if __name__ == "__main__":
    main()
