"""Properties whose draws may be refused: how many were really tested is counted, and must be most of them."""

from collections.abc import Callable
from functools import wraps
from typing import Any

REFUSED = object()
"""What a property returns for a draw that it cannot test."""


def mostly(least: float) -> Callable[[Any], Any]:
    """Outermost decorator of a hypothesis test: fails where less than this share of the draws were tested."""

    def decorate(test: Any) -> Any:
        inner, tested = test.hypothesis.inner_test, list[bool]()

        @wraps(inner)
        def counted(*args: Any, **kwargs: Any) -> None:
            tested.append(inner(*args, **kwargs) is not REFUSED)

        @wraps(test)
        def run(*args: Any, **kwargs: Any) -> None:
            tested.clear()
            test(*args, **kwargs)
            assert sum(tested) >= least * len(tested) > 0, f"{sum(tested)} of {len(tested)} draws tested"

        test.hypothesis.inner_test = counted
        return run

    return decorate
