-- Limits: how often Binance is asked.

-- One row for each account that was ever told to come back later. Claims read it.
CREATE TABLE provider_rests (
    account_id  uuid PRIMARY KEY REFERENCES accounts,
    rest_until  timestamptz NOT NULL,
    reason      text NOT NULL,              -- what Binance answered
    began_at    timestamptz NOT NULL
);
-- What somebody waits for is claimed before any poll.
CREATE INDEX attempts_due_first ON attempts (due_at, account_id, attempt_id)
    WHERE due_at IS NOT NULL AND status IN ('PREPARED', 'SUBMITTING', 'CLOSING');

GRANT SELECT, INSERT, UPDATE ON provider_rests TO checkstand_app;

-- What an account allows itself; none by default. A limit that was taken back is null.
CREATE TABLE account_limits (
    account_id  uuid NOT NULL REFERENCES accounts,
    kind        text NOT NULL,
    currency    text NOT NULL,              -- empty where the limit holds for all together
    most        numeric CHECK (most >= 0),
    set_at      timestamptz NOT NULL,
    PRIMARY KEY (account_id, kind, currency)
);
-- Held while something is counted, so that two at once do not pass under one limit. A gate is the
-- hash of what is counted, of 256: it tells nobody who that is.
CREATE TABLE limit_gates (
    account_id  uuid NOT NULL REFERENCES accounts,
    kind        text NOT NULL,
    gate        integer NOT NULL,
    PRIMARY KEY (account_id, kind, gate)
);
-- Personal: pruned by the retention policy, and in no event and no answer.
ALTER TABLE orders ADD COLUMN buyer_reference text COLLATE "C";
ALTER TABLE orders ADD COLUMN client_ip text COLLATE "C";
CREATE INDEX orders_open_of_buyer ON orders (account_id, buyer_reference)
    WHERE buyer_reference IS NOT NULL AND status IN ('CREATED', 'PENDING_PAYMENT');
CREATE INDEX orders_open_of_address ON orders (account_id, client_ip)
    WHERE client_ip IS NOT NULL AND status IN ('CREATED', 'PENDING_PAYMENT');

-- Above a limit a second person approves; until then the refund is REQUESTED and never due.
ALTER TABLE refunds ADD COLUMN requester text;         -- who asked, as an API key's id
ALTER TABLE refunds ADD COLUMN approval_reason text;   -- why somebody else has to approve
ALTER TABLE refunds ADD COLUMN approved_by text;
ALTER TABLE refunds ADD COLUMN approved_at timestamptz;
ALTER TABLE refunds ADD CONSTRAINT refunds_approver CHECK (approved_by <> requester);
CREATE INDEX refunds_of_day ON refunds (account_id, currency, requested_at);

GRANT SELECT, INSERT, UPDATE ON account_limits, limit_gates TO checkstand_app;

-- Retention: of a pruned notice the hash of its raw bytes is left, and everything else.
ALTER TABLE notices ADD COLUMN raw_sha256 bytea;
ALTER TABLE notices ADD COLUMN raw_pruned_at timestamptz;
ALTER TABLE notices ADD CONSTRAINT notices_pruned CHECK (
    (raw_pruned_at IS NULL) = (raw_sha256 IS NULL)
);
CREATE INDEX notices_with_raw ON notices (account_id, received_at, notice_id)
    WHERE raw_pruned_at IS NULL;
CREATE INDEX orders_with_buyer ON orders (account_id, created_at, order_id)
    WHERE buyer_reference IS NOT NULL OR client_ip IS NOT NULL;
