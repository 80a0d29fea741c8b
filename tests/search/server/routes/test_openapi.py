"""The OpenAPI document: answers are as it says, whatever is asked for, and none is a crash."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from ....helpers.web import client_of, copied


@pytest.fixture(scope="module")
def client(colors: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    home = copied(colors / "home", tmp_path_factory.mktemp("openapi") / "home")
    # The client that schemathesis makes calls its server so.
    with client_of(home, max_upload_mb=1, hosts=frozenset({"testserver"})) as client:
        yield client


@pytest.fixture(scope="module")
def known(client: TestClient, colors: Path) -> dict[str, str]:
    """Ids of things that there are."""
    clip = (colors / "lib/red.mkv").read_bytes()
    sent = client.post("/v1/uploads", params={"name": "red.mkv"}, content=clip)
    return {"video": "lib/red.mkv", "upload": sent.json()["upload"]}


def test_errors_are_described_as_they_are(client: TestClient) -> None:
    described = client.get("/v1/openapi.json").json()
    assert "HTTPValidationError" not in described["components"]["schemas"]
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], (method, path)
            default = operation["responses"]["default"]["content"]["application/json"]
            assert default["schema"]["$ref"].endswith("/Refused"), (method, path)


@pytest.mark.acceptance
def test_what_is_answered_is_as_it_says(client: TestClient, known: dict[str, str]) -> None:
    import schemathesis  # a second, which the other tests are spared
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import strategies as st
    from schemathesis import Case, GenerationMode
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi import checks

    document: Any = schemathesis.openapi.from_asgi("/v1/openapi.json", client.app)
    asked = 0
    for found in document.get_all_operations():
        operation = found.ok()
        for mode in GenerationMode:
            if mode is GenerationMode.NEGATIVE and not (operation.query or operation.body):
                continue  # any text fits

            @settings(
                max_examples=60,
                deadline=None,
                database=None,
                phases=[Phase.explicit, Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode), there=st.booleans())
            def ask(case: Case[Any], there: bool) -> None:
                nonlocal asked
                asked += 1
                keeps = case.method != "DELETE"
                for name in {*case.path_parameters} & {*known} if there and keeps else ():
                    case.path_parameters[name] = known[name]
                case.call_and_validate(
                    checks=[
                        not_a_server_error,
                        checks.status_code_conformance,
                        checks.content_type_conformance,
                        checks.response_schema_conformance,
                    ],
                    headers={"Host": "localhost"},
                )

            ask()
    assert asked > 3000
