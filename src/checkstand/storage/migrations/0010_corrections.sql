-- Closed days: figures that change after they were booked, and one chain of summaries. And when
-- money really went back that somebody returned in Binance's portal.

-- Another figure for something booked is booked too, as the difference, in the day that is closed
-- next. First figures are booked once, whatever happens; a correction at most once in each day.
ALTER TABLE closed_facts DROP CONSTRAINT closed_facts_pkey;
ALTER TABLE closed_facts ADD PRIMARY KEY (account_id, kind, fact_id, closed_in);
CREATE UNIQUE INDEX closed_facts_first ON closed_facts (account_id, kind, fact_id)
    WHERE kind IN ('payment', 'fee', 'refund', 'fee_returned');
ALTER TABLE closed_facts DROP CONSTRAINT closed_facts_kind_check;
ALTER TABLE closed_facts ADD CONSTRAINT closed_facts_kind_check CHECK (
    kind IN ('payment', 'payment_corrected', 'fee', 'fee_corrected',
             'refund', 'refund_corrected', 'fee_returned', 'fee_return_corrected'));

-- Which day was closed first, second, …: of two that are closed at once one comes after the other,
-- so that no two summaries name the same one as the one before.
ALTER TABLE closed_days ADD COLUMN number integer;
UPDATE closed_days c
   SET number = n.number
  FROM (SELECT account_id, day,
               row_number() OVER (PARTITION BY account_id ORDER BY closed_at, day) AS number
          FROM closed_days) AS n
 WHERE (c.account_id, c.day) = (n.account_id, n.day);
ALTER TABLE closed_days ALTER COLUMN number SET NOT NULL;
CREATE UNIQUE INDEX closed_days_chain ON closed_days (account_id, number);

-- Null: when it ended here. A refund in the portal is learnt of days later, and the balance of the
-- wallet goes by when it left.
ALTER TABLE refunds ADD COLUMN returned_at timestamptz;
DROP INDEX refunds_by_day;
CREATE INDEX refunds_by_day ON refunds
    (account_id, (coalesce(returned_at, ended_at, requested_at)), refund_id)
    WHERE status = 'SUCCEEDED';
