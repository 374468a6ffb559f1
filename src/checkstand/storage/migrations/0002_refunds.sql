-- Refunds: money sent back out of a payment, each with a life of its own.

CREATE TABLE refunds (
    account_id          uuid NOT NULL,
    order_id            uuid NOT NULL,
    attempt_id          uuid NOT NULL,
    payment_id          uuid NOT NULL,
    refund_id           uuid NOT NULL,
    merchant_refund_id  text NOT NULL COLLATE "C",
    amount              numeric NOT NULL CHECK (amount > 0),
    currency            text NOT NULL,
    requested_at        timestamptz NOT NULL,
    requested_by        text NOT NULL,
    reason              text,
    status              text NOT NULL CHECK (status IN (
        'REQUESTED', 'SENT', 'UNKNOWN', 'PENDING', 'SUCCEEDED', 'FAILED'
    )),
    is_elsewhere        boolean NOT NULL,      -- made in Binance's portal, recorded here
    checked_at          timestamptz,           -- Binance was asked about the order before the send
    sends               integer NOT NULL,
    last_sent_at        timestamptz,
    in_doubt            boolean NOT NULL,      -- an earlier send may have landed
    absences            integer NOT NULL,
    last_absent_at      timestamptz,
    returned            numeric,               -- what Binance says goes back, asked for or not
    fee_returned        numeric,               -- null: not told yet, which is not zero
    remaining_attempts  integer,               -- Binance's last word
    failure             text,
    ended_at            timestamptz,
    asks                integer NOT NULL,
    due_at              timestamptz,
    lease_owner         uuid,
    lease_until         timestamptz,
    PRIMARY KEY (account_id, refund_id),
    UNIQUE (account_id, merchant_refund_id),
    FOREIGN KEY (account_id, order_id) REFERENCES orders,
    FOREIGN KEY (account_id, payment_id) REFERENCES payments
);
CREATE INDEX refunds_of_order ON refunds (account_id, order_id);
CREATE INDEX refunds_due ON refunds (due_at, account_id, refund_id) WHERE due_at IS NOT NULL;
-- One on its way per payment: the answer to the one before decides what may still be asked.
CREATE UNIQUE INDEX refunds_one_in_flight ON refunds (account_id, payment_id)
    WHERE status IN ('SENT', 'UNKNOWN');

-- What open refunds have asked back, and what has gone back. Only the reservation is guarded
-- (refunds.reserve): what Binance reports is never refused.
ALTER TABLE payments ADD COLUMN refund_reserved numeric NOT NULL DEFAULT 0
    CHECK (refund_reserved >= 0);
ALTER TABLE payments ADD COLUMN refunded numeric NOT NULL DEFAULT 0;

GRANT SELECT, INSERT, UPDATE ON refunds TO checkstand_app;
