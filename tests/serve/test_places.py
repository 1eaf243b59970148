from __future__ import annotations

import pytest

from reckon.serve.places import Places
from reckon.serve.refusal import Refusal


def test_some_are_generated_some_wait_and_the_rest_are_refused() -> None:
    places = Places(2, 1)
    with places.taken(2):
        with places.taken(1):
            assert places.load == (2, 1)
            with pytest.raises(Refusal, match="try again later") as refused, places.taken(1):
                pass
            assert (refused.value.status, refused.value.headers) == (429, {"Retry-After": "1"})
        assert places.load == (2, 0)
    assert places.load == (0, 0)


def test_places_come_back_after_a_failure() -> None:
    places = Places(1, 0)
    with pytest.raises(KeyError), places.taken(1):
        raise KeyError
    assert places.load == (0, 0)


def test_what_never_fits_is_no_overload() -> None:
    with pytest.raises(Refusal, match="more than this server has places for") as refused, Places(2, 1).taken(4):
        pass
    assert refused.value.status == 400
