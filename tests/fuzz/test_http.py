"""Made-up requests for every route: every answer is one that the OpenAPI document knows, in bounded time.

A short run is part of the tests; `make fuzz` sets FUZZ_EXAMPLES for a long one, and benchmarks/reliability/hostile.py has
longer ones.
"""

import os
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="piza[serve] is not installed")

from hypothesis import HealthCheck, given, settings
from tests.fuzz.http_targets import TARGETS
from tests.fuzz.targets import attempt

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "60"))
SECONDS = 5.0  # of CPU that an answer may take, in all threads


@pytest.mark.parametrize("name", TARGETS)
def test_requests(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    target = TARGETS[name]
    folder = tmp_path_factory.mktemp("http")

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(target.made)
    def run(given_value: Any) -> None:
        assert attempt(target, given_value, Path(folder)) < SECONDS

    run()
