-- What the gate on one screen counts: entries by hour and by server, stays of
-- a day. It reads a bounded stretch of each index and no table.

CREATE INDEX entries_by_time ON entries (at, denial, server);

CREATE INDEX stays_by_start ON stays (started);
