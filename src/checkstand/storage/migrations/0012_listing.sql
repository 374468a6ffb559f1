-- Closing a day looks through what days of the last 400 have booked, by the day it belongs to.
CREATE INDEX closed_facts_of_day ON closed_facts (account_id, day);
