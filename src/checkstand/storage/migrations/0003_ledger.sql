-- The books: transfers, and the seals that show that none was changed or taken away since. And
-- the order of the event feed.

-- When we learnt the figure that stands: a late one belongs to the day it was learnt.
ALTER TABLE payments ADD COLUMN fee_learnt_at timestamptz;
ALTER TABLE refunds ADD COLUMN fee_return_learnt_at timestamptz;
UPDATE payments SET fee_learnt_at = received_at WHERE fee IS NOT NULL;
UPDATE refunds SET fee_return_learnt_at = ended_at WHERE fee_returned IS NOT NULL;

-- What has not been booked because nobody knows it yet.
CREATE INDEX payments_fee_unknown ON payments (account_id, received_at, payment_id)
    WHERE fee IS NULL;

-- Insert-only. One asset, one debit, one credit: each row balances by itself.
CREATE TABLE transfers (
    account_id  uuid NOT NULL REFERENCES accounts,
    kind        text NOT NULL COLLATE "C",
    fact        text NOT NULL COLLATE "C",     -- the payment, the refund, …: never the channel
    asset       text NOT NULL,
    amount      numeric NOT NULL CHECK (amount > 0),
    debit       text NOT NULL,
    credit      text NOT NULL,
    at          timestamptz NOT NULL,          -- when we learnt it
    order_id    uuid,
    payment_id  uuid,
    refund_id   uuid,
    group_id    uuid,                          -- transfers that are one act
    PRIMARY KEY (account_id, kind, fact),
    FOREIGN KEY (account_id, order_id) REFERENCES orders,
    CHECK (debit <> credit),
    -- The domain's chart of accounts; a test compares.
    CONSTRAINT transfers_chart CHECK (
        debit IN ('binance:funding', 'binance:spot', 'exchange', 'external', 'fees', 'in_transit',
                  'refunds', 'sales', 'suspense')
        AND credit IN ('binance:funding', 'binance:spot', 'exchange', 'external', 'fees',
                       'in_transit', 'refunds', 'sales', 'suspense')
    )
);
CREATE INDEX transfers_in_time ON transfers (account_id, at, kind, fact);
CREATE INDEX transfers_of_order ON transfers (account_id, order_id) WHERE order_id IS NOT NULL;

-- Insert-only. Each seal holds the hash of the one before, so none can change alone.
CREATE TABLE seals (
    account_id     uuid NOT NULL REFERENCES accounts,
    number         integer NOT NULL CHECK (number > 0),
    previous_hash  bytea NOT NULL,
    hash           bytea NOT NULL,
    count          integer NOT NULL CHECK (count > 0),
    newest_at      timestamptz NOT NULL,       -- of all that is sealed up to here
    at             timestamptz NOT NULL,
    PRIMARY KEY (account_id, number)
);

-- Insert-only: one row for each sealed transfer, with the hash of its text.
CREATE TABLE sealed_transfers (
    account_id  uuid NOT NULL,
    number      integer NOT NULL,              -- of the seal
    place       integer NOT NULL,              -- in the seal, from 1
    kind        text NOT NULL COLLATE "C",
    fact        text NOT NULL COLLATE "C",
    digest      bytea NOT NULL,
    PRIMARY KEY (account_id, kind, fact),
    UNIQUE (account_id, number, place),
    FOREIGN KEY (account_id, number) REFERENCES seals,
    FOREIGN KEY (account_id, kind, fact) REFERENCES transfers
);

-- What was known before there were books.
INSERT INTO transfers (
    account_id, kind, fact, asset, amount, debit, credit, at, order_id, payment_id
)
SELECT account_id, 'payment', payment_id::text, currency, amount, 'binance:funding',
       CASE WHEN held THEN 'suspense' ELSE 'sales' END, received_at, order_id, payment_id
  FROM payments WHERE amount > 0
UNION ALL
SELECT account_id, 'fee', payment_id::text, currency, fee, 'fees', 'binance:funding', received_at,
       order_id, payment_id
  FROM payments WHERE fee > 0;

INSERT INTO transfers (
    account_id, kind, fact, asset, amount, debit, credit, at, order_id, payment_id, refund_id
)
SELECT r.account_id, 'refund', r.refund_id::text, r.currency, r.returned,
       CASE WHEN p.held THEN 'suspense' ELSE 'refunds' END, 'binance:funding', r.ended_at,
       r.order_id, r.payment_id, r.refund_id
  FROM refunds r JOIN payments p ON (p.account_id, p.payment_id) = (r.account_id, r.payment_id)
 WHERE r.status = 'SUCCEEDED' AND r.returned > 0
UNION ALL
SELECT account_id, 'fee_returned', refund_id::text, currency, fee_returned, 'binance:funding',
       'fees', ended_at, order_id, payment_id, refund_id
  FROM refunds WHERE status = 'SUCCEEDED' AND fee_returned > 0;

-- Insert-only. An event's place in the account's feed, given after the event is committed.
CREATE TABLE event_positions (
    account_id  uuid NOT NULL,
    position    bigint NOT NULL CHECK (position > 0),
    event_id    uuid NOT NULL,
    PRIMARY KEY (account_id, position),
    UNIQUE (account_id, event_id),
    FOREIGN KEY (account_id, event_id) REFERENCES events
);

GRANT SELECT, INSERT ON transfers, seals, sealed_transfers, event_positions TO checkstand_app;
