"""A folder that vLLM takes for a model: Qwen2 of toy size with a real byte-level BPE tokenizer, and no weights: `load_format="dummy"`.

Its words mean nothing, everything else is real: sampling, schemas, prefix cache, aborts. `python -m inference.tiny_model FOLDER` writes it.
It needs nothing but the standard library, and writes the same bytes every time.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Final

VOCABULARY: Final = 512
CONTEXT: Final = 2048
SPECIAL: Final = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TEMPLATE: Final = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CORPUS: Final = """
You are the character below. Speak as they would, one or two short sentences, nothing else. The harbour town sells by day what the
sea gives and by night what the graves give. Brokers carry goods between the day world and the night world. {"say": "Good evening,
stranger.", "emotion": "neutral", "action": "none"} What do you want here? I have nothing to say to you. The fog comes early off the
water, and there is a storm in the air.
"""
# The head has a dimension of 64: vLLM's CPU attention refuses small ones.
CONFIG: Final = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": CONTEXT,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "hidden_act": "silu",
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "bos_token_id": 0,
    "eos_token_id": 2,
}


def write(folder: Path) -> Path:
    """Write the model into `folder`, which is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "config.json": CONFIG,
        "generation_config.json": {"bos_token_id": 0, "eos_token_id": 2},
        "tokenizer.json": tokenizer(),
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": CONTEXT,
            "bos_token": None,
            "eos_token": SPECIAL[2],
            "pad_token": SPECIAL[0],
            "unk_token": None,
            "add_bos_token": False,
            "clean_up_tokenization_spaces": False,
            "chat_template": TEMPLATE,
        },
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, ensure_ascii=False, indent=1), "utf-8")
    return folder


def tokenizer() -> dict[str, object]:
    """`tokenizer.json`: all bytes, and merges of what stands together often."""
    letters = _letters()
    merges = _merges([[letters[byte] for byte in word.encode()] for word in re.findall(r" ?\w+| ?[^\w\s]+|\s+", CORPUS)])
    tokens = [*SPECIAL, *letters.values(), *(left + right for left, right in merges)]
    tokens += [f" w{index}" for index in range(VOCABULARY - len(tokens))]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": index, "content": token, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
            for index, token in enumerate(SPECIAL)
        ],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": byte_level,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: index for index, token in enumerate(tokens)},
            "merges": [list(pair) for pair in merges],
        },
    }


def _letters() -> dict[int, str]:
    """The printable letter that stands for each byte in byte-level BPE, as GPT-2 laid down."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {byte: chr(byte) for byte in plain} | {byte: chr(256 + index) for index, byte in enumerate(others)}


def _merges(words: list[list[str]]) -> list[tuple[str, str]]:
    """The merges for which the vocabulary has room, the most frequent pair first, ties by spelling."""
    merges: list[tuple[str, str]] = []
    while len(merges) < VOCABULARY - 256 - len(SPECIAL):
        pairs = Counter(pair for word in words for pair in pairwise(word))
        taken = {left + right for left, right in merges}
        free = [(-count, pair) for pair, count in pairs.items() if "".join(pair) not in taken]
        if not free:
            break
        best = min(free)[1]
        merges.append(best)
        words = [_merged(word, best) for word in words]
    return merges


def _merged(word: list[str], pair: tuple[str, str]) -> list[str]:
    out: list[str] = []
    for letter in word:
        if out and (out[-1], letter) == pair:
            out[-1] += letter
        else:
            out.append(letter)
    return out


def main() -> int:
    if len(sys.argv) != 2:
        sys.stderr.write("wanted one folder to write the model to: python -m inference.tiny_model FOLDER\n")
        return 2
    sys.stdout.write(f"{write(Path(sys.argv[1]))}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
