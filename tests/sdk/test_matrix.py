"""Every client SDK, every provider's dialect, every feature: one cell, one test. Its name is
`client / provider / feature`, and what is lost where something is; matrix.py reads that."""

from itertools import product

import pytest

from clients import CLIENTS
from features import FEATURES, PROVIDERS
from losses import loss

CELLS = list(product(CLIENTS, PROVIDERS, FEATURES))


def name(cell: tuple[str, str, str]) -> str:
    lost = loss(*cell)
    return " / ".join(cell + ((f"without {lost.name}",) if lost else ()))


@pytest.mark.parametrize("cell", CELLS, ids=name)
def test_cell(cell):
    client, provider, feature = cell
    lost = loss(*cell)
    check = lost.check if lost else lambda client, provider, feature: FEATURES[feature](client, provider)
    check(CLIENTS[client](), provider, feature)
