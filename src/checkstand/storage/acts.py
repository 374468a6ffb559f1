"""Acts of people: written beside what they changed, and never again."""

from checkstand.domain.act import Act
from checkstand.storage.database import Transaction, statement

#: The id is made before the step, which may run again after a commit whose answer was lost.
_INSERT = statement(
    "acts.insert",
    """
    INSERT INTO acts (account_id, act_id, order_id, actor, who, what, subject, reason, at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
    ON CONFLICT DO NOTHING
    """,
)


async def record(tx: Transaction, act: Act) -> None:
    """Write an act down in the transaction that it changed something in."""
    await tx.run(
        _INSERT,
        act.account_id,
        act.act_id,
        act.order_id,
        act.doer.actor,
        act.doer.who,
        act.what,
        act.subject,
        act.reason,
        act.at,
    )
