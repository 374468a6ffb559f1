"""`checkstand anomalies`: what waits for somebody, across all orders."""

import json
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from checkstand.cli.orders import AsJson, anomaly_line, in_the_house

if TYPE_CHECKING:
    from checkstand.operations.resources import Resources


def anomalies(
    *,
    resolved: Annotated[bool, Parameter(negative=())] = False,
    limit: int = 20,
    as_json: AsJson = False,
) -> int:
    """List what is odd and waits for somebody, newest first; `orders resolve` settles one.

    Parameters
    ----------
    resolved
        Those that were settled, instead of those that are open.
    limit
        How many.
    """
    from checkstand.domain.view import render_anomaly
    from checkstand.operations.open_account import DEFAULT_ACCOUNT_ID
    from checkstand.queries.list_anomalies import list_anomalies

    async def show(house: "Resources") -> None:
        found, has_more = await list_anomalies(
            house.database,
            DEFAULT_ACCOUNT_ID,
            is_resolved=resolved,
            starting_after=None,
            limit=limit,
        )
        for anomaly in found:
            facts = render_anomaly(anomaly)
            line = f"{anomaly.opened_at:%Y-%m-%d %H:%M:%S} order {anomaly.order_id} "
            print(json.dumps(facts, ensure_ascii=False) if as_json else line + anomaly_line(facts))
        if has_more and not as_json:
            print(f"the newest {limit}; --limit shows more")

    return in_the_house(show)
