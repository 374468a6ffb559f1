-- Recovery: after a database was put back to an earlier point it learns again what it forgot.

-- One row for each time the database of an account was restored. The newest epoch counts; while a
-- row is not finished, refunds, closes, deliveries and expiry of the account are held.
CREATE TABLE recoveries (
    account_id    uuid NOT NULL REFERENCES accounts,
    epoch         integer NOT NULL CHECK (epoch > 1),   -- 1 is a database that was never restored
    began_at      timestamptz NOT NULL,
    cause         text NOT NULL,
    made_since    timestamptz NOT NULL,       -- what was made or paid since then is asked about
    finished_at   timestamptz,
    finished_by   text,
    reason        text,                       -- why it ended before everything was asked
    unasked       integer,                    -- how much was not asked when it ended
    PRIMARY KEY (account_id, epoch)
);
CREATE UNIQUE INDEX recoveries_unfinished ON recoveries (account_id) WHERE finished_at IS NULL;

-- What a recovery has to ask about; the calls say what was asked.
CREATE TABLE recovery_attempts (
    account_id  uuid NOT NULL,
    epoch       integer NOT NULL,
    attempt_id  uuid NOT NULL,
    order_id    uuid NOT NULL,
    PRIMARY KEY (account_id, epoch, attempt_id),
    FOREIGN KEY (account_id, epoch) REFERENCES recoveries,
    FOREIGN KEY (account_id, attempt_id) REFERENCES attempts
);

-- When a gateway was last here, as it also wrote down outside of the database.
CREATE TABLE witnesses (
    account_id  uuid PRIMARY KEY REFERENCES accounts,
    seen_at     timestamptz NOT NULL
);

-- Orders at Binance that carry our own mark and that we do not know: made after the point that the
-- database was put back to. Learnt from notices, believed only as far as a query tells it.
CREATE TABLE orphan_orders (
    account_id         uuid NOT NULL REFERENCES accounts,
    merchant_trade_no  text NOT NULL,
    notice_id          uuid NOT NULL,         -- which told us
    order_id           uuid NOT NULL,         -- as its mark says
    attempt_id         uuid NOT NULL,
    prepay_id          text,
    status             text,                  -- in Binance's words; null: it knows no such order
    amount             numeric,
    currency           text,
    transaction_id     text,
    explanation        text NOT NULL,
    found_at           timestamptz NOT NULL,
    asked_at           timestamptz NOT NULL,
    PRIMARY KEY (account_id, merchant_trade_no)
);

GRANT SELECT, INSERT, UPDATE ON recoveries, witnesses, orphan_orders TO checkstand_app;
GRANT SELECT, INSERT ON recovery_attempts TO checkstand_app;

-- When Binance fails by itself only polls rest; when it says "too many", everything does.
ALTER TABLE provider_rests ADD COLUMN trouble text NOT NULL DEFAULT 'too_many'
    CHECK (trouble IN ('server_failed', 'too_many'));
ALTER TABLE provider_rests DROP CONSTRAINT provider_rests_pkey;
ALTER TABLE provider_rests ADD PRIMARY KEY (account_id, trouble);
