-- The first schema. Every table and unique key starts with the merchant account, so that the
-- data can be spread by it later; only accounts are global. Times, ids and randomness are
-- parameters of the statements that write them, never functions in here.

CREATE TABLE accounts (
    account_id     uuid PRIMARY KEY,
    reference      text NOT NULL UNIQUE,       -- eight characters inside API keys and tokens
    name           text NOT NULL,              -- what the shopper reads at the checkout
    notice_path    text NOT NULL UNIQUE,       -- the unguessable end of its webhook address
    halted_reason  text,                       -- automatic moves are stopped, and why
    created_at     timestamptz NOT NULL
);

CREATE TABLE credentials (
    account_id         uuid NOT NULL REFERENCES accounts,
    credential_id      uuid NOT NULL,
    api_key            text NOT NULL,
    secret_ciphertext  bytea NOT NULL,
    base_url           text NOT NULL,
    merchant_id        text,                   -- pinned from the first query; another one halts
    valid_from         timestamptz NOT NULL,
    valid_until        timestamptz,
    PRIMARY KEY (account_id, credential_id)
);

CREATE TABLE certificates (
    account_id      uuid NOT NULL REFERENCES accounts,
    serial          text NOT NULL,
    public_key      text NOT NULL,             -- PEM
    first_seen_at   timestamptz NOT NULL,
    last_seen_at    timestamptz NOT NULL,      -- in the newest list that held it
    PRIMARY KEY (account_id, serial)
);

CREATE TABLE api_keys (
    account_id    uuid NOT NULL REFERENCES accounts,
    key_id        uuid NOT NULL,
    name          text NOT NULL,
    secret_hash   bytea NOT NULL,              -- SHA-256 of the key's random part
    scopes        text[] NOT NULL,
    created_at    timestamptz NOT NULL,
    last_used_at  timestamptz,
    revoked_at    timestamptz,
    PRIMARY KEY (account_id, key_id),
    UNIQUE (account_id, secret_hash),
    UNIQUE (account_id, name)
);

CREATE TABLE orders (
    account_id           uuid NOT NULL REFERENCES accounts,
    order_id             uuid NOT NULL,
    merchant_order_id    text NOT NULL COLLATE "C",
    cart_id              text COLLATE "C",
    status               text NOT NULL,
    previous_status      text NOT NULL,
    version              integer NOT NULL CHECK (version > 0),
    amount               numeric CHECK (amount > 0),
    currency             text,
    fiat_amount          numeric CHECK (fiat_amount > 0),
    fiat_currency        text,
    terms                jsonb NOT NULL,       -- the rest of what the shop asked for
    checkout_token       text NOT NULL,
    created_at           timestamptz NOT NULL,
    expires_at           timestamptz NOT NULL,
    settled_by           uuid,
    paid_at              timestamptz,
    fulfilled_at         timestamptz,
    cancel_requested_at  timestamptz,
    PRIMARY KEY (account_id, order_id),
    UNIQUE (account_id, merchant_order_id),
    UNIQUE (account_id, checkout_token),
    CHECK ((amount IS NULL) = (currency IS NULL)),
    CHECK ((fiat_amount IS NULL) = (fiat_currency IS NULL)),
    CHECK ((amount IS NULL) <> (fiat_amount IS NULL)),
    -- Generated from the domain's table; a test compares.
    CONSTRAINT orders_move CHECK ((previous_status, status) IN (
        ('CANCELED', 'CANCELED'),
        ('CANCELED', 'PAID'),
        ('CREATED', 'CANCELED'),
        ('CREATED', 'CREATED'),
        ('CREATED', 'EXPIRED'),
        ('CREATED', 'PAID'),
        ('CREATED', 'PENDING_PAYMENT'),
        ('EXPIRED', 'EXPIRED'),
        ('EXPIRED', 'PAID'),
        ('EXPIRED', 'PENDING_PAYMENT'),
        ('FULFILLED', 'FULFILLED'),
        ('FULFILLED', 'REFUNDED'),
        ('PAID', 'FULFILLED'),
        ('PAID', 'PAID'),
        ('PAID', 'REFUNDED'),
        ('PENDING_PAYMENT', 'CANCELED'),
        ('PENDING_PAYMENT', 'EXPIRED'),
        ('PENDING_PAYMENT', 'PAID'),
        ('PENDING_PAYMENT', 'PENDING_PAYMENT'),
        ('REFUNDED', 'REFUNDED')
    ))
);
CREATE INDEX orders_newest ON orders (account_id, created_at DESC, order_id DESC);
CREATE INDEX orders_by_status ON orders (account_id, status, created_at DESC, order_id DESC);
CREATE INDEX orders_to_expire ON orders (expires_at, account_id, order_id)
    WHERE status IN ('CREATED', 'PENDING_PAYMENT');
-- A cart is paid once: at most one of its orders may be on its way.
CREATE UNIQUE INDEX orders_one_live_per_cart ON orders (account_id, cart_id)
    WHERE cart_id IS NOT NULL AND status IN ('CREATED', 'PENDING_PAYMENT');

-- Insert-only: the application's role may neither update nor delete here.
CREATE TABLE order_history (
    account_id       uuid NOT NULL,
    order_id         uuid NOT NULL,
    version          integer NOT NULL,
    previous_status  text NOT NULL,
    status           text NOT NULL,
    actor            text NOT NULL,
    reason           text NOT NULL,
    reference        text,                     -- the call or notice it rests on
    at               timestamptz NOT NULL,
    PRIMARY KEY (account_id, order_id, version),
    FOREIGN KEY (account_id, order_id) REFERENCES orders
);

CREATE TABLE attempts (
    account_id          uuid NOT NULL,
    order_id            uuid NOT NULL,
    attempt_id          uuid NOT NULL,
    number              integer NOT NULL CHECK (number > 0),
    status              text NOT NULL CHECK (status IN (
        'PREPARED', 'SUBMITTING', 'OPEN', 'CLOSING', 'PAID', 'CLOSED', 'LAPSED', 'REJECTED',
        'NEVER_EXISTED'
    )),
    credential_id       uuid NOT NULL,
    merchant_trade_no   text NOT NULL,
    prepay_id           text,                  -- only ever from an answer to our own call
    expected_amount     numeric,
    expected_currency   text,
    created_at          timestamptz NOT NULL,
    expires_at          timestamptz NOT NULL,
    links               jsonb,
    qr_svg              text,                  -- the code as drawn for the page, once
    payer_active        boolean NOT NULL,
    sends               integer NOT NULL,
    last_sent_at        timestamptz,
    absences            integer NOT NULL,
    last_absent_at      timestamptz,
    close_reason        text,
    close_requested_at  timestamptz,
    closes              integer NOT NULL,
    close_accepted_at   timestamptz,
    ended_at            timestamptz,
    hinted_at           timestamptz,
    asks                integer NOT NULL,
    due_at              timestamptz,
    lease_owner         uuid,
    lease_until         timestamptz,
    PRIMARY KEY (account_id, attempt_id),
    UNIQUE (account_id, order_id, number),
    UNIQUE (account_id, merchant_trade_no),
    FOREIGN KEY (account_id, order_id) REFERENCES orders,
    FOREIGN KEY (account_id, credential_id) REFERENCES credentials
);
CREATE UNIQUE INDEX attempts_one_live ON attempts (account_id, order_id)
    WHERE status IN ('PREPARED', 'SUBMITTING', 'OPEN', 'CLOSING');
CREATE INDEX attempts_by_prepay_id ON attempts (account_id, prepay_id);
CREATE INDEX attempts_due ON attempts (due_at, account_id, attempt_id) WHERE due_at IS NOT NULL;

CREATE TABLE payments (
    account_id      uuid NOT NULL,
    order_id        uuid NOT NULL,
    attempt_id      uuid NOT NULL,
    payment_id      uuid NOT NULL,
    amount          numeric NOT NULL,          -- what Binance reports is never refused
    currency        text NOT NULL,
    fee             numeric,                   -- null: not told yet, which is not zero
    transaction_id  text,
    paid_at         timestamptz,
    received_at     timestamptz NOT NULL,
    held            boolean NOT NULL,
    PRIMARY KEY (account_id, payment_id),
    UNIQUE (account_id, attempt_id),
    FOREIGN KEY (account_id, attempt_id) REFERENCES attempts
);
CREATE INDEX payments_of_order ON payments (account_id, order_id);

CREATE TABLE anomalies (
    account_id   uuid NOT NULL,
    order_id     uuid NOT NULL,
    attempt_id   uuid NOT NULL,
    anomaly_id   uuid NOT NULL,
    kind         text NOT NULL,
    detail       text NOT NULL,
    opened_at    timestamptz NOT NULL,
    resolved_at  timestamptz,
    resolved_by  text,
    resolution   text,
    reason       text,
    PRIMARY KEY (account_id, anomaly_id),
    FOREIGN KEY (account_id, attempt_id) REFERENCES attempts
);
CREATE INDEX anomalies_of_order ON anomalies (account_id, order_id);
CREATE INDEX anomalies_open ON anomalies (account_id, opened_at) WHERE resolved_at IS NULL;

-- What Binance told us unasked, as it came.
CREATE TABLE notices (
    account_id    uuid NOT NULL REFERENCES accounts,
    notice_id     uuid NOT NULL,
    fingerprint   bytea NOT NULL,              -- what makes two deliveries the same notice
    biz_type      text NOT NULL,
    biz_id        text NOT NULL,
    biz_status    text NOT NULL,
    serial        text NOT NULL,
    signed_at     timestamptz NOT NULL,
    received_at   timestamptz NOT NULL,
    own_path      boolean NOT NULL,            -- came on the account's own address
    raw           bytea NOT NULL,
    outcome       text NOT NULL CHECK (outcome IN ('applied', 'hint', 'orphan', 'stored')),
    explanation   text NOT NULL,               -- why that outcome, in a sentence
    order_id      uuid,
    attempt_id    uuid,
    PRIMARY KEY (account_id, notice_id),
    UNIQUE (account_id, fingerprint)
);
CREATE INDEX notices_of_order ON notices (account_id, order_id) WHERE order_id IS NOT NULL;
CREATE INDEX notices_unmatched ON notices (account_id, received_at)
    WHERE outcome IN ('orphan', 'stored');

-- What we asked Binance, written before it is sent where it may have an effect there.
CREATE TABLE calls (
    account_id   uuid NOT NULL,
    call_id      uuid NOT NULL,
    order_id     uuid NOT NULL,
    attempt_id   uuid NOT NULL,
    endpoint     text NOT NULL,
    started_at   timestamptz NOT NULL,
    ended_at     timestamptz,
    outcome      text CHECK (outcome IN ('accepted', 'rejected', 'unavailable', 'unknown')),
    code         text,
    summary      text,
    PRIMARY KEY (account_id, call_id),
    FOREIGN KEY (account_id, attempt_id) REFERENCES attempts
);
CREATE INDEX calls_of_order ON calls (account_id, order_id);

CREATE TABLE webhook_endpoints (
    account_id          uuid NOT NULL REFERENCES accounts,
    endpoint_id         uuid NOT NULL,
    url                 text NOT NULL,
    secret_ciphertext   bytea NOT NULL,
    fulfil_on_delivery  boolean NOT NULL,
    created_at          timestamptz NOT NULL,
    disabled_at         timestamptz,
    PRIMARY KEY (account_id, endpoint_id)
);
CREATE UNIQUE INDEX webhook_endpoints_enabled ON webhook_endpoints (account_id, url)
    WHERE disabled_at IS NULL;

-- Insert-only.
CREATE TABLE events (
    account_id     uuid NOT NULL,
    event_id       uuid NOT NULL,
    order_id       uuid NOT NULL,
    order_version  integer NOT NULL,
    type           text NOT NULL,
    created_at     timestamptz NOT NULL,
    body           text NOT NULL,              -- the very text that is delivered, every time
    PRIMARY KEY (account_id, event_id),
    FOREIGN KEY (account_id, order_id) REFERENCES orders
);
CREATE INDEX events_of_order ON events (account_id, order_id, order_version);
CREATE INDEX events_newest ON events (account_id, created_at DESC, event_id DESC);

CREATE TABLE deliveries (
    account_id     uuid NOT NULL,
    event_id       uuid NOT NULL,
    endpoint_id    uuid NOT NULL,
    order_id       uuid NOT NULL,
    order_version  integer NOT NULL,
    urgent         boolean NOT NULL,           -- overtakes earlier ones of its order after a minute
    status         text NOT NULL CHECK (status IN ('pending', 'delivered', 'given_up')),
    lets_next_go   boolean NOT NULL,           -- refused by the shop: it blocks nobody
    tries          integer NOT NULL,
    created_at     timestamptz NOT NULL,
    due_at         timestamptz,
    ended_at       timestamptz,
    lease_owner    uuid,
    lease_until    timestamptz,
    PRIMARY KEY (account_id, event_id, endpoint_id),
    FOREIGN KEY (account_id, event_id) REFERENCES events,
    FOREIGN KEY (account_id, endpoint_id) REFERENCES webhook_endpoints
);
CREATE INDEX deliveries_due ON deliveries (due_at, account_id, event_id, endpoint_id)
    WHERE status = 'pending';
CREATE INDEX deliveries_of_order ON deliveries (account_id, order_id, endpoint_id, order_version)
    WHERE status = 'pending';

-- Insert-only: one row for each sending.
CREATE TABLE delivery_tries (
    account_id   uuid NOT NULL,
    event_id     uuid NOT NULL,
    endpoint_id  uuid NOT NULL,
    number       integer NOT NULL,
    order_id     uuid NOT NULL,
    at           timestamptz NOT NULL,
    status_code  integer,
    summary      text NOT NULL,
    PRIMARY KEY (account_id, event_id, endpoint_id, number),
    FOREIGN KEY (account_id, event_id, endpoint_id) REFERENCES deliveries
);
CREATE INDEX delivery_tries_of_order ON delivery_tries (account_id, order_id);

CREATE TABLE idempotency_keys (
    account_id     uuid NOT NULL REFERENCES accounts,
    route          text NOT NULL,
    key            text NOT NULL COLLATE "C",
    request_hash   bytea NOT NULL,             -- of the parsed fields
    created_at     timestamptz NOT NULL,
    lease_owner    uuid,
    lease_until    timestamptz,                -- running until then; afterwards whoever comes goes on
    order_id       uuid,
    answer_status  integer,                    -- null while running
    answer         text,
    PRIMARY KEY (account_id, route, key)
);
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at, account_id, route, key);

-- The application runs as this role: history cannot be rewritten, and nothing but old idempotency
-- keys can disappear, whatever a bug may try.
GRANT SELECT, INSERT, UPDATE ON
    accounts, credentials, certificates, api_keys, orders, attempts, payments, anomalies, notices,
    calls, webhook_endpoints, deliveries, idempotency_keys
    TO checkstand_app;
GRANT DELETE ON idempotency_keys TO checkstand_app;
GRANT SELECT, INSERT ON order_history, events, delivery_tries TO checkstand_app;
GRANT SELECT ON schema_migrations TO checkstand_app;
