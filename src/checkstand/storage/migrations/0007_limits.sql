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
