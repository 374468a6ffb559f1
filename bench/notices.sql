-- The rows that one paid notice leaves, by one statement and one commit, for order :k.
\set n :n + 1
\set k :base + :client_id * :each + :n
WITH o AS (
    UPDATE orders
       SET status = 'PAID', previous_status = status, version = version + 1,
           settled_by = md5(:k::text || 'payment')::uuid, paid_at = now()
     WHERE account_id = :account::uuid AND order_id = md5(:k::text || 'order')::uuid AND version = 2
    RETURNING order_id
), a AS (
    UPDATE attempts
       SET status = 'PAID', ended_at = now(), asks = 0, due_at = now() + interval '1 day'
     WHERE account_id = :account::uuid AND attempt_id = md5(:k::text || 'attempt')::uuid
    RETURNING attempt_id
), p AS (
    INSERT INTO payments
    SELECT :account::uuid, o.order_id, a.attempt_id, md5(:k::text || 'payment')::uuid, 12.50, 'USDT',
           0.125, 'P_A1B2C3D4E5', now(), now(), false
      FROM o, a
), h AS (
    INSERT INTO order_history
    SELECT :account::uuid, order_id, 3, 'PENDING_PAYMENT', 'PAID', 'binance',
           'Binance says 12.50 USDT arrived', 'notice:' || md5(:k::text || 'notice'), now()
      FROM o
), e AS (
    INSERT INTO events
    SELECT :account::uuid, md5(:k::text || 'event')::uuid, order_id, 3, 'order.paid', now(), :event::text
      FROM o
)
INSERT INTO notices
SELECT :account::uuid, md5(:k::text || 'notice')::uuid,
       decode(md5(:k::text || 'one') || md5(:k::text || 'two'), 'hex'), 'PAY', :prefix::text || :k::text, 'PAY_SUCCESS',
       'bench', now(), now(), true, decode(:raw::text, 'hex'), 'applied',
       'PAY_SUCCESS bound to our own attempt', o.order_id, a.attempt_id
  FROM o, a;
