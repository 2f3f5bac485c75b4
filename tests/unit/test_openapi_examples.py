"""Examples in the document, for whatever routes a domain has."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

import pytest
from fastapi import Body, FastAPI
from pydantic import BaseModel, Field

from slipway.http.openapi import describe


class Part(BaseModel):
    """Of a project."""

    name: str = Field(examples=["hull"])
    weight: float | None = None


class Project(BaseModel):
    """May have projects within."""

    title: str = Field(examples=["Boat"])
    parts: list[Part]
    lead: Part | None = None
    within: list[Project] = []


def document(annotation: Any) -> dict[str, Any]:
    """Of an API with one route, whose body is that."""
    api = FastAPI()

    async def put(project_id: UUID, shelf: str, body: Any) -> None:
        pass

    put.__annotations__["body"] = annotation
    api.put("/{project_id}/{shelf}", status_code=204)(put)
    describe(api, {})
    return api.openapi()


HULL = {"name": "hull"}
BOAT = {"title": "Boat", "parts": [HULL], "lead": HULL}


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (list[Part], [HULL]),
        (list[UUID], None),
        (list[Annotated[str, Field(examples=["paint"])]], ["paint"]),
        (Part | Project, HULL),
        (dict[str, Any], None),
        (Annotated[int, Body(examples=[3])], 3),
    ],
)
def test_a_body_that_is_no_model_has_its_example_beside_its_schema(annotation: Any, expected: Any) -> None:
    operation = document(annotation)["paths"]["/{project_id}/{shelf}"]["put"]
    [media] = operation["requestBody"]["content"].values()
    assert media.get("example") == expected or media["schema"]["items"]["format"] == "uuid"


def test_a_model_has_a_whole_one_and_one_within_itself_ends() -> None:
    schemas = document(Project)["components"]["schemas"]
    assert schemas["Project"]["examples"] == [BOAT]


def test_path_parameters_of_any_name_are_described() -> None:
    parameters = document(Part)["paths"]["/{project_id}/{shelf}"]["put"]["parameters"]
    told = {each["name"]: each.get("description") for each in parameters}
    assert told == {"project_id": "Id of the project.", "shelf": None}
