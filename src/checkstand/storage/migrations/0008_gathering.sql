-- A recovery goes through the account's attempts in stretches: how far, and when that was complete.

ALTER TABLE recoveries ADD COLUMN gathered_to uuid;
ALTER TABLE recoveries ADD COLUMN gathered_at timestamptz;
