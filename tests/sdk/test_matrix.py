"""Every client SDK, every provider's dialect, every feature: one cell, one test."""

import pytest

from clients import CLIENTS
from features import FEATURES, PROVIDERS
from losses import loss


@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("client", CLIENTS)
def test_cell(client, provider, feature, record_property):
    for name, value in (("client", client), ("provider", provider), ("feature", feature)):
        record_property(name, value)
    lost = loss(client, provider, feature)
    if not lost:
        return FEATURES[feature](CLIENTS[client](), provider)
    record_property("loss", f"{lost.name}: {lost.reason}")
    lost.check(CLIENTS[client](), provider, feature)
