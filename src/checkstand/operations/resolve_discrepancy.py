"""A person's word about a discrepancy: how it ended, and why."""

from uuid import UUID

from checkstand.domain.reconciliation import (
    HUMAN_RESOLUTIONS,
    Discrepancy,
    DiscrepancyResolution,
)
from checkstand.errors import Conflict, NotFound, Refused
from checkstand.operations.resources import Resources
from checkstand.storage import discrepancies
from checkstand.storage.database import Transaction

_REASON_CHARACTERS_MAX = 1000


async def resolve_discrepancy(
    resources: Resources,
    *,
    account_id: UUID,
    discrepancy_id: UUID,
    resolution: str,
    reason: str,
    by: str,
) -> Discrepancy:
    """Resolve an open discrepancy. Raises Refused, NotFound, or Conflict when it is resolved."""
    if resolution not in HUMAN_RESOLUTIONS:
        raise Refused(
            "invalid_request",
            f"resolution must be one of {', '.join(HUMAN_RESOLUTIONS)}",
            field="resolution",
        )
    if not reason.strip() or len(reason) > _REASON_CHARACTERS_MAX:
        raise Refused(
            "invalid_request",
            f"say why, in at most {_REASON_CHARACTERS_MAX} characters",
            field="reason",
        )
    now = resources.clock.now()

    async def step(tx: Transaction) -> Discrepancy:
        resolved = await discrepancies.resolve(
            tx,
            account_id,
            discrepancy_id,
            by=by,
            resolution=DiscrepancyResolution(resolution),
            reason=reason.strip(),
            now=now,
        )
        if resolved is not None:
            return resolved
        known = await discrepancies.find_one(tx, account_id, discrepancy_id)
        if known is None:
            raise NotFound(
                "discrepancy_not_found",
                f"there is no discrepancy {discrepancy_id}",
                field="discrepancy_id",
            )
        raise Conflict(
            "discrepancy_resolved",
            f"it is resolved already: {known.resolution}, {known.reason}",
            facts={"resolved_by": known.resolved_by},
        )

    return await resources.database.run(step, name="resolve_discrepancy")
