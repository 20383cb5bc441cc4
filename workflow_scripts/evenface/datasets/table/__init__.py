"""Any folder of pictures with a table, whose columns the configuration names."""

from typing import Annotated

from pydantic import Field

from evenface.datasets.settings import DatasetSettings
from evenface.fields import Names, Text
from evenface.parts import FilePath, Needs, Reader


class TableSettings(DatasetSettings):
    """Its entry of the configuration."""

    root: FilePath = Field(description="Folder of the pictures; the table names them relative to it.")
    table: FilePath = Field(description="CSV or TSV with a row per picture.")
    attributes: Annotated[Names[Text], Field(min_length=1)] = Field(
        description="Columns of binary labels, which are the names of the attributes."
    )
    columns: dict[str, str] = Field(
        {},
        description="Columns of other names: `image`, `identity`, `split` and dimensions such as `gender`, each with the name of "
        "its column. A dimension whose name a column has need not be listed; a number counts as years of age.",
    )


PART = Reader(
    name="table",
    summary="A folder of pictures and a CSV, whose columns the configuration names.",
    code="evenface.datasets.table.reader:read",
    settings=TableSettings,
    files=lambda settings: {"table": settings["table"], "root": settings["root"]},
    needs=Needs(mem_mb=4000, runtime=120, conda="analyse"),
)
