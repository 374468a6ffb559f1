-- Before a refund is sent Binance is asked about an earlier one of the payment, too: when that was done.

ALTER TABLE refunds ADD COLUMN compared_at timestamptz;
UPDATE refunds SET compared_at = checked_at;
