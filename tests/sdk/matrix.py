"""Prints the README's matrix from the results of both runs:

python -m pytest -q tests/sdk --junit-xml=python.xml
node --test --test-reporter=junit tests/sdk/node > node.xml
python tests/sdk/matrix.py python.xml node.xml
"""

import sys
from collections import defaultdict
from xml.etree import ElementTree


def cells(paths: list[str]):
    """Client, provider, feature, loss (or nothing), and whether the cell is as it should be."""
    for path in paths:
        for case in ElementTree.parse(path).iter("testcase"):
            name = case.get("name").removeprefix("test_cell[").removesuffix("]")
            parts = name.split(" / ")
            if len(parts) >= 3:
                good = case.find("failure") is None and case.find("error") is None
                yield *parts[:3], (parts[3:] or [""])[0].removeprefix("without "), good


def summary(cells: list[tuple[str, str, bool]]) -> str:
    had = sum(good and not lost for _, lost, good in cells)
    lost = [feature for feature, lost, good in cells if lost and good]
    failed = [feature for feature, _, good in cells if not good]
    text = f"{had}/{len(cells)}"
    text += f": {', '.join(starred(lost))}" if lost else ""
    return text + (f"; **fails: {', '.join(failed)}**" if failed else "")


def starred(features: list[str]) -> list[str]:
    """What is lost whole and streamed has a star, and stands once."""
    streamed = " streamed"
    twice = {feature for feature in features if feature + streamed in features}
    once = [feature for feature in features if feature.removesuffix(streamed) not in twice or feature in twice]
    return [feature + "*" if feature in twice else feature for feature in once]


def main(paths: list[str]):
    table, losses = defaultdict(lambda: defaultdict(list)), defaultdict(dict)
    for client, provider, feature, lost, good in cells(paths):
        if lost != "no helper":
            table[client][provider].append((feature, lost, good))
        if lost:
            losses[lost][feature] = True
    providers = list(dict.fromkeys(provider for row in table.values() for provider in row))
    print("| client | " + " | ".join(providers) + " |")
    print("|---|" + "---|" * len(providers))
    for client, row in table.items():
        print(f"| {client} | " + " | ".join(summary(row[provider]) for provider in providers) + " |")
    print("\nLosses by name, each asserted, and the features they take:\n")
    for lost, features in losses.items():
        print(f"- `{lost}`: {', '.join(features)}")


if __name__ == "__main__":
    main(sys.argv[1:])
