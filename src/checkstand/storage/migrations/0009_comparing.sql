-- Before a refund is sent Binance is asked about an earlier one of the payment, too: when that was done.

ALTER TABLE refunds ADD COLUMN compared_at timestamptz;
UPDATE refunds SET compared_at = checked_at;

-- What was settled, as it is listed across an account; what is open has such an index already.
CREATE INDEX anomalies_resolved ON anomalies (account_id, opened_at, anomaly_id)
    WHERE resolved_at IS NOT NULL;
