"""Fits how the tokens of families without a vocabulary at hand follow from those with one.

    python3 scripts/fit-token-ratios.py ../shared/tokens/fixtures.jsonl

Needs numpy. Prints the constants of routing/src/tokens/ratio.rs. For each family
ln(tokens / o200k tokens) is a line in six inputs with an intercept per class of text, fitted to the
absolute error (iteratively reweighted least squares) on that half of each kind of text whose hashes
come first; the other half is for `make measure-tokens` to judge.
"""

import collections
import hashlib
import json
import sys

import numpy as np

FAMILIES = ["claude3", "claude4_7"]
CLASSES = ["Prose", "Code", "TexOrCode", "Json", "Digits", "Base64", "LatinAccented", "Chinese", "Japanese", "Korean", "Russian"]
CENSUS_CHARS = 2000
ROUNDS = 30
# Weights of the penalties on intercepts and slopes, of inputs in units of their spread.
RIDGE = (0.3, 1.0)
SMALLEST_ERROR = 0.02


def census(text):
    seen = collections.Counter()
    head = text[:CENSUS_CHARS]
    for c in head:
        if c.isascii():
            seen["space"] += c in " \n"
            seen["upper"] += c.isupper()
            seen["letter"] += c.isalpha()
            seen["digit"] += c.isdigit()
            if 32 < ord(c) < 127 and not c.isalnum():
                seen["punctuation"] += 1
                seen["json"] += c in '"{}[]:,'
                seen["tex"] += c in "\\^_$"
        elif "\u3040" <= c <= "\u30ff":
            seen["kana"] += 1
        elif "\uac00" <= c <= "\ud7af" or "\u1100" <= c <= "\u11ff":
            seen["hangul"] += 1
        elif "\u4e00" <= c <= "\u9fff" or "\u3400" <= c <= "\u4dbf":
            seen["han"] += 1
        elif "\u0400" <= c <= "\u04ff":
            seen["cyrillic"] += 1
        elif "\u00c0" <= c <= "\u024f":
            seen["accented"] += 1
            seen["umlaut"] += c in "äöüßÄÖÜ"
    total = max(len(head), 1)
    return len(head), {k: seen[k] / total for k in seen} | {"": 0.0}


def text_class(total, share):
    s = lambda kind: share.get(kind, 0.0)
    rules = [
        ("Japanese", s("kana") > 0.08),
        ("Korean", s("hangul") > 0.08),
        ("Chinese", s("han") > 0.10),
        ("Russian", s("cyrillic") > 0.15),
        ("Base64", s("space") < 0.02 and s("upper") > 0.15 and total > 80),
        ("Digits", s("digit") > 0.28 and s("letter") < 0.6),
        ("Json", s("json") > 0.13),
        ("LatinAccented", s("accented") > 0.007),
        ("TexOrCode", s("tex") > 0.03),
        ("Code", s("punctuation") > 0.09),
    ]
    return next((name for name, holds in rules if holds), "Prose")


def inputs(row, share):
    counts = row["counts"]
    ratio = lambda count: np.log(max(count, 1) / counts["o200k"])
    return [
        ratio(len(row["text"])),
        share.get("upper", 0.0),
        share.get("umlaut", 0.0),
        ratio(counts["cl100k"]),
        ratio(counts["deepseek_v3"]),
        ratio(counts["qwen3"]),
    ]


def first_halves(rows):
    kinds = collections.defaultdict(list)
    for row in rows:
        kinds[row["class"]].append(row)
    for kind in kinds.values():
        kind.sort(key=lambda row: hashlib.sha256(row["text"].encode()).hexdigest())
        yield from kind[: len(kind) // 2]


def fit(x, classes, y):
    mean, spread = x.mean(0), x.std(0)
    design = np.hstack([np.array([[c == known for known in CLASSES] for c in classes], float), (x - mean) / spread])
    penalty = np.diag([RIDGE[0]] * len(CLASSES) + [RIDGE[1]] * x.shape[1])
    weights = np.ones(len(y))
    for _ in range(ROUNDS):
        weighted = design.T * weights
        line = np.linalg.solve(weighted @ design + penalty, weighted @ y)
        weights = 1 / np.maximum(np.abs(y - design @ line), SMALLEST_ERROR)
        weights /= weights.mean()
    slopes = line[len(CLASSES) :] / spread
    return line[: len(CLASSES)] - slopes @ mean, slopes


def main():
    rows = [json.loads(line) for line in open(sys.argv[1], encoding="utf-8")]
    rows = list(first_halves(rows))
    seen = [census(row["text"]) for row in rows]
    classes = [text_class(total, share) for total, share in seen]
    x = np.array([inputs(row, share) for row, (_, share) in zip(rows, seen)])
    for family in FAMILIES:
        y = np.array([np.log(row["counts"][family] / row["counts"]["o200k"]) for row in rows])
        intercepts, slopes = fit(x, classes, y)
        listed = lambda numbers: ", ".join(f"{number:.4f}" for number in numbers)
        print(f"// {family}\nLine {{\n    intercepts: [{listed(intercepts)}],\n    slopes: [{listed(slopes)}],\n}},")


main()
