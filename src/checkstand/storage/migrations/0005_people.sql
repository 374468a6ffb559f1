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
