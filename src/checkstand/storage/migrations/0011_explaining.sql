-- Explaining an order: what is told of it is found by the order, and what left no trace leaves one.

-- When a notice that fitted nothing, or was only stored, was matched with the order it is about.
ALTER TABLE notices ADD COLUMN matched_at timestamptz;

CREATE INDEX discrepancies_of_order ON discrepancies (account_id, order_id)
    WHERE order_id IS NOT NULL;
CREATE INDEX orphan_orders_of_order ON orphan_orders (account_id, order_id);
CREATE INDEX recovery_attempts_of_order ON recovery_attempts (account_id, order_id);
CREATE INDEX idempotency_keys_of_order ON idempotency_keys (account_id, order_id)
    WHERE order_id IS NOT NULL;
-- What was done to the account itself, such as a halt: few rows among all acts.
CREATE INDEX acts_of_account ON acts (account_id, at) WHERE order_id IS NULL;
