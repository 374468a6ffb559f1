-- Reconciliation: what report files of Binance list, what wallets held, where that and our own
-- rows differ, and the days that were closed.

-- Which days of ours a payment or a refund belongs to; and the way in from a file's ids.
CREATE INDEX payments_by_day ON payments (account_id, (coalesce(paid_at, received_at)), payment_id);
CREATE INDEX payments_by_transaction_id ON payments (account_id, transaction_id);
CREATE INDEX refunds_by_day ON refunds
    (account_id, (coalesce(ended_at, requested_at)), refund_id) WHERE status = 'SUCCEEDED';

-- How a merchant's report files are to be read.
CREATE TABLE column_maps (
    account_id  uuid NOT NULL REFERENCES accounts,
    name        text NOT NULL COLLATE "C",
    document    jsonb NOT NULL,
    stored_at   timestamptz NOT NULL,
    removed_at  timestamptz,
    PRIMARY KEY (account_id, name)
);

-- A file is taken in by parts, each in a transaction that also moves `lines_taken` on, so that
-- whoever comes after a crash goes on there. Its lines count once all of them are in.
CREATE TABLE report_files (
    account_id   uuid NOT NULL REFERENCES accounts,
    file_id      uuid NOT NULL,
    sha256       bytea NOT NULL,
    name         text NOT NULL,                -- as somebody called it: nothing rests on it
    source       text NOT NULL CHECK (source IN ('api', 'upload')),
    format       text NOT NULL,
    map_name     text NOT NULL,
    lines        integer NOT NULL CHECK (lines >= 0),
    lines_taken  integer NOT NULL CHECK (lines_taken BETWEEN 0 AND lines),
    first_at     timestamptz,
    last_at      timestamptz,
    notes        text[] NOT NULL,
    received_at  timestamptz NOT NULL,
    taken_at     timestamptz,                  -- when the last line was in
    withdrawn_at timestamptz,                  -- read by a wrong map, say: it counts no more
    PRIMARY KEY (account_id, file_id),
    CHECK (taken_at IS NULL OR (lines_taken = lines AND withdrawn_at IS NULL))
);
CREATE UNIQUE INDEX report_files_by_content ON report_files (account_id, sha256)
    WHERE withdrawn_at IS NULL;
CREATE INDEX report_files_newest ON report_files (account_id, received_at DESC, file_id DESC);

CREATE TABLE report_lines (
    account_id      uuid NOT NULL,
    file_id         uuid NOT NULL,
    number          integer NOT NULL,          -- its row in the file
    kind            text NOT NULL CHECK (kind IN ('payment', 'refund', 'payout')),
    at              timestamptz NOT NULL,
    transaction_id  text,
    prepay_id       text,
    trade_no        text,
    refund_ref      text,
    currency        text NOT NULL,
    amount          numeric NOT NULL,
    fee             numeric,
    status          text,
    settled         boolean NOT NULL,
    attempt_id      uuid,                      -- ours, if its ids name one
    refund_id       uuid,                      -- ours, if it is one that we asked for
    ids_agree       boolean NOT NULL,          -- they all name the same attempt
    PRIMARY KEY (account_id, file_id, number),
    FOREIGN KEY (account_id, file_id) REFERENCES report_files
);
CREATE INDEX report_lines_by_day ON report_lines (account_id, at);
CREATE INDEX report_lines_of_attempt ON report_lines (account_id, attempt_id)
    WHERE attempt_id IS NOT NULL;
CREATE INDEX report_lines_of_refund ON report_lines (account_id, refund_id)
    WHERE refund_id IS NOT NULL;
CREATE INDEX report_lines_unmatched ON report_lines (account_id, at)
    WHERE attempt_id IS NULL AND refund_id IS NULL;

-- For which time we have seen everything Binance lists of a kind. Only there may a payment of
-- ours that no file lists be called "only ours".
CREATE TABLE report_coverage (
    account_id    uuid NOT NULL REFERENCES accounts,
    coverage_id   uuid NOT NULL,               -- derived from what follows
    kind          text NOT NULL CHECK (kind IN ('payment', 'refund', 'payout')),
    covers_from   timestamptz NOT NULL,
    covers_until  timestamptz NOT NULL,
    rests_on      text NOT NULL,
    recorded_at   timestamptz NOT NULL,
    withdrawn_at  timestamptz,
    PRIMARY KEY (account_id, coverage_id),
    CHECK (covers_from < covers_until)
);
CREATE INDEX report_coverage_by_time ON report_coverage (account_id, kind, covers_until);

-- What the wallet held at the first look on a day. Insert-only.
CREATE TABLE balance_snapshots (
    account_id  uuid NOT NULL REFERENCES accounts,
    day         date NOT NULL,
    wallet      text NOT NULL,
    taken_at    timestamptz NOT NULL,
    balances    jsonb NOT NULL,                -- asset → decimal text
    PRIMARY KEY (account_id, day, wallet)
);

-- A day as it was last reconciled. The row is also what keeps two runs of one day apart.
CREATE TABLE reconciled_days (
    account_id     uuid NOT NULL REFERENCES accounts,
    day            date NOT NULL,
    reconciled_at  timestamptz,
    result         jsonb,
    PRIMARY KEY (account_id, day)
);

-- Closed days, each with its signed summary. Insert-only.
CREATE TABLE closed_days (
    account_id  uuid NOT NULL REFERENCES accounts,
    day         date NOT NULL,
    closed_at   timestamptz NOT NULL,
    closed_by   text NOT NULL,
    document    text NOT NULL,                 -- the very text that is signed and handed out
    PRIMARY KEY (account_id, day)
);

-- Which facts each closed day booked, so that one learnt later is seen to be later, and no fact is
-- booked twice. Insert-only.
CREATE TABLE closed_facts (
    account_id  uuid NOT NULL REFERENCES accounts,
    kind        text NOT NULL CHECK (kind IN ('payment', 'fee', 'refund', 'fee_returned')),
    fact_id     uuid NOT NULL,                 -- of the payment or the refund
    day         date NOT NULL,                 -- to which it belongs
    closed_in   date NOT NULL,                 -- in which it is booked
    currency    text NOT NULL,
    amount      numeric NOT NULL,
    fee         numeric,                       -- null: not known when it was booked
    PRIMARY KEY (account_id, kind, fact_id)
);
CREATE INDEX closed_facts_in ON closed_facts (account_id, closed_in);

CREATE TABLE discrepancies (
    account_id      uuid NOT NULL REFERENCES accounts,
    discrepancy_id  uuid NOT NULL,             -- derived from what is found
    day             date NOT NULL,             -- of the fact
    bucket          text NOT NULL CHECK (bucket IN ('differing', 'only_ours', 'only_theirs')),
    kind            text NOT NULL,
    subject         text NOT NULL,
    order_id        uuid,
    attempt_id      uuid,
    refund_id       uuid,
    currency        text,
    amount          numeric,
    ours            text,
    theirs          text,
    can_heal        boolean NOT NULL,          -- Binance's answer to a query will settle it
    found_at        timestamptz NOT NULL,
    seen_at         timestamptz NOT NULL,      -- the last run that found it
    asked_at        timestamptz,               -- a query of the attempt was made due
    told_at         timestamptz,               -- the shop was told
    resolved_at     timestamptz,
    resolved_by     text,
    resolution      text,
    reason          text,
    closed_in       date,                      -- the closed day that counts it
    PRIMARY KEY (account_id, discrepancy_id)
);
CREATE INDEX discrepancies_of_day ON discrepancies (account_id, day, subject);
CREATE INDEX discrepancies_newest ON discrepancies
    (account_id, found_at DESC, discrepancy_id DESC);
CREATE INDEX discrepancies_open ON discrepancies (account_id, found_at, discrepancy_id)
    WHERE resolved_at IS NULL;

GRANT SELECT, INSERT, UPDATE ON
    column_maps, report_files, reconciled_days, discrepancies
    TO checkstand_app;
GRANT SELECT, INSERT ON
    report_lines, report_coverage, balance_snapshots, closed_days, closed_facts
    TO checkstand_app;
-- What a line says never changes; which of ours it is about may be learnt later.
GRANT UPDATE (attempt_id, refund_id, ids_agree) ON report_lines TO checkstand_app;
GRANT UPDATE (withdrawn_at) ON report_coverage TO checkstand_app;
