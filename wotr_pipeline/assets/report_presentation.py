"""How a report looks on its asset's page: the same figures, tables and charts as in its files.

Belongs here: turning a ``Report`` into Dagster metadata. A figure's value stays a number, so that Dagster plots it.
Does not belong here: what a report says (``operations/reports/``).
"""

import dagster as dg

from wotr_pipeline.operations.reports.markdown import chart_text
from wotr_pipeline.operations.reports.report import Kind, Report, Table, Value
from wotr_pipeline.operations.reports.writing import Written
from wotr_pipeline.stores.objects import ObjectStore

Metadata = dict[str, dg.MetadataValue]


def metadata(report: Report, written: Written, objects: ObjectStore) -> Metadata:
    """The report, and where its files are."""
    shown: Metadata = {
        "in short": dg.MetadataValue.text(report.headline),
        "period": dg.MetadataValue.text(report.period),
        "dagster/uri": dg.MetadataValue.text(objects.uri(written.html)),
        "Markdown": dg.MetadataValue.text(objects.uri(written.markdown)),
    }
    for figure in report.figures:
        shown[figure.name] = _number(figure.value)
        if figure.kind in (Kind.BYTES, Kind.MILLISECONDS) and figure.value is not None:
            shown[f"{figure.name}, in words"] = dg.MetadataValue.text(figure.text)
    for section in report.sections:
        for chart in section.charts:
            shown[chart.title] = dg.MetadataValue.md(chart_text(chart))
        for table in section.tables:
            shown[f"{section.title}: {table.title}"] = _table(table)
    shown["what it means"] = dg.MetadataValue.url(report.page)
    return shown


def _number(value: int | float | str | None) -> dg.MetadataValue:
    if value is None:
        return dg.MetadataValue.text("not known")
    if isinstance(value, str):
        return dg.MetadataValue.text(value)
    return dg.MetadataValue.int(value) if isinstance(value, int) else dg.MetadataValue.float(float(value))


def _table(table: Table) -> dg.MetadataValue:
    if not table.lines:
        return dg.MetadataValue.text(table.empty)
    return dg.MetadataValue.table(
        [
            dg.TableRecord(
                {
                    column.title: _cell(column.kind, value)
                    for column, value in zip(table.columns, line, strict=True)
                }
            )
            for line in table.lines
        ],
        schema=dg.TableSchema(
            [
                dg.TableColumn(column.title, "int" if column.kind is Kind.COUNT else "string")
                for column in table.columns
            ]
        ),
    )


def _cell(kind: Kind, value: Value) -> str | int:
    return round(value) if kind is Kind.COUNT and isinstance(value, int | float) else kind.text(value)
