"""The API's words about reconciliation. Amounts are text, days are UTC."""

from datetime import date, datetime
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StrictStr, model_validator

from checkstand.domain.reconciliation import FIRST_DAY, LAST_DAY, DiscrepancyKind

_Day = Annotated[date, Field(ge=FIRST_DAY, le=LAST_DAY)]


class DayFilters(BaseModel):
    """Which days are wanted; without any, the last thirty."""

    model_config = ConfigDict(extra="forbid")

    first: Annotated[_Day | None, Field(alias="from")] = None
    last: Annotated[_Day | None, Field(alias="to")] = None


class TotalView(BaseModel):
    """Facts of one kind, bucket and asset, counted and added up."""

    kind: str
    bucket: str
    currency: str | None
    count: int
    amount: str
    fee: str | None
    fees_unknown: int
    confirmed_by_query: int


class CountView(BaseModel):
    """How many discrepancies of one kind a day has."""

    found: int
    open: int


class DayView(BaseModel):
    """A day as it was last reconciled; a closed one with its signed summary."""

    day: date
    reconciled_at: datetime | None
    sources: dict[str, Any] | None
    totals: list[TotalView]
    discrepancies: dict[str, CountView]
    closed_at: datetime | None
    closed_by: str | None
    document: str | None


class DayList(BaseModel):
    """Days, oldest first."""

    data: list[DayView]


class DiscrepancyFilters(BaseModel):
    """Which discrepancies are wanted."""

    model_config = ConfigDict(extra="forbid")

    open: bool | None = None
    day: _Day | None = None
    kind: DiscrepancyKind | None = None
    starting_after: str | None = None
    limit: Annotated[int, Field(ge=1, le=100)] = 20


class DiscrepancyView(BaseModel):
    """One difference between ours and theirs."""

    discrepancy_id: str
    day: date
    bucket: str
    kind: str
    subject: str
    order_id: str | None
    refund_id: str | None
    amount: str | None
    currency: str | None
    ours: str | None
    theirs: str | None
    asked_at: datetime | None
    found_at: datetime
    resolved_at: datetime | None
    resolved_by: str | None
    resolution: str | None
    reason: str | None
    closed_in: date | None


class DiscrepancyList(BaseModel):
    """A page of discrepancies, newest first."""

    data: list[DiscrepancyView]
    has_more: bool


class DiscrepancyResolved(BaseModel):
    """A person's word about a discrepancy."""

    model_config = ConfigDict(extra="forbid")

    resolution: Annotated[StrictStr, Field(description="accepted, explained or written_off")]
    reason: Annotated[StrictStr, Field(min_length=1, max_length=1000)]
    by: Annotated[
        StrictStr | None, Field(min_length=1, max_length=100, description="Who says so.")
    ] = None


class UploadFacts(BaseModel):
    """What is said beside an uploaded file."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=255)] = "report"
    covers_from: Annotated[
        _Day | None, Field(description="The file lists everything from this day on …")
    ] = None
    covers_to: Annotated[_Day | None, Field(description="… to the end of this one.")] = None

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.covers_from is None) != (self.covers_to is None):
            raise ValueError("covers_from and covers_to go together")
        if self.covers_from and self.covers_to and self.covers_from > self.covers_to:
            raise ValueError("covers_to comes before covers_from")
        return self

    def stated_days(self) -> tuple[date, date] | None:
        """Return the days that the file is said to list in full."""
        if self.covers_from is None or self.covers_to is None:
            return None
        return self.covers_from, self.covers_to


class ReportFileView(BaseModel):
    """A report file as it was taken in."""

    file_id: str
    name: str
    sha256: str
    source: str
    format: str
    column_map: str
    lines: int
    first_at: datetime | None
    last_at: datetime | None
    notes: list[str]
    received_at: datetime
    withdrawn_at: datetime | None


class ReportFileList(BaseModel):
    """Report files, newest first."""

    data: list[ReportFileView]


class ReportTaken(BaseModel):
    """What became of an uploaded file."""

    file: ReportFileView
    was_known: bool
    days: list[date]
    open_discrepancies: int


class ColumnMapDocument(BaseModel):
    """A column map; docs/reconciliation.md says what its parts mean."""

    model_config = ConfigDict(extra="forbid")

    columns: dict[str, str | list[str]]
    kind: str | None = None
    kinds: dict[str, str] | None = None
    zone: str | None = None
    time_format: str | None = None
    decimal: str | None = None
    settled: list[str] | None = None
    unsettled: list[str] | None = None


class ColumnMaps(BaseModel):
    """Your column maps, and the headers that are known without one."""

    yours: dict[str, Any]
    built_in: dict[str, Any]
