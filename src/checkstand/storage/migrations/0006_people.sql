-- What people decide, and what the shop owes.

-- Every act of a person or of a shop's program that changed something. Insert-only.
CREATE TABLE acts (
    account_id  uuid NOT NULL REFERENCES accounts,
    act_id      uuid NOT NULL,
    order_id    uuid,                          -- null: it concerned the account itself
    actor       text NOT NULL,                 -- merchant, shopper or person
    who         text NOT NULL,                 -- which of them: an API key's name, an operator
    what        text NOT NULL,                 -- a verb and what it was done to
    subject     text NOT NULL,                 -- what it was done to, as the timeline refers to it
    reason      text,
    at          timestamptz NOT NULL,
    PRIMARY KEY (account_id, act_id),
    FOREIGN KEY (account_id, order_id) REFERENCES orders
);
CREATE INDEX acts_of_order ON acts (account_id, order_id) WHERE order_id IS NOT NULL;
CREATE INDEX acts_newest ON acts (account_id, at DESC, act_id DESC);

GRANT SELECT, INSERT ON acts TO checkstand_app;

-- A merchant is one per account, whichever of its credentials asks: another one halts it.
ALTER TABLE accounts ADD COLUMN merchant_id text;      -- pinned from the first query
ALTER TABLE accounts ADD COLUMN halted_at timestamptz;
ALTER TABLE accounts ADD COLUMN resumed_at timestamptz; -- what queries said before counts no more
UPDATE accounts a
   SET merchant_id = (
       SELECT c.merchant_id FROM credentials c
        WHERE c.account_id = a.account_id AND c.merchant_id IS NOT NULL
        ORDER BY c.valid_from, c.credential_id LIMIT 1);
ALTER TABLE credentials DROP COLUMN merchant_id;

-- What the account's newest queries said, when one says "no such order" of one that was there.
CREATE INDEX calls_answered_queries ON calls (account_id, ended_at DESC, call_id DESC)
    WHERE endpoint = '/v2/order/query' AND outcome = 'accepted';

-- What a paid order's goods are owed by: one hand at a time, offered again until acknowledged. Those
-- paid before this are listed as unfulfilled, and not offered again by themselves.
ALTER TABLE orders ADD COLUMN fulfilment_token text;         -- who has it in hand, or had it last
ALTER TABLE orders ADD COLUMN fulfilment_until timestamptz;  -- and until when
ALTER TABLE orders ADD COLUMN fulfilment_due_at timestamptz; -- when it is offered again
ALTER TABLE orders ADD COLUMN fulfilment_offers integer NOT NULL DEFAULT 0;
ALTER TABLE orders ADD COLUMN cancel_requested_by text;      -- an actor: merchant or shopper
CREATE INDEX orders_unfulfilled ON orders (account_id, paid_at, order_id) WHERE status = 'PAID';
CREATE INDEX orders_to_offer ON orders (fulfilment_due_at, account_id, order_id)
    WHERE status = 'PAID' AND fulfilment_due_at IS NOT NULL;
