-- What the gate on one screen counts: entries by hour and by server, stays of
-- a day. It reads a bounded stretch of each index and no table.

CREATE INDEX entries_by_time ON entries (at, denial, server);

CREATE INDEX stays_by_start ON stays (started);

-- How far the lines of a gate's spool have been written down: a line whose
-- number is not above n is not written again.
CREATE TABLE spools (
	id   TEXT   NOT NULL PRIMARY KEY,
	gate TEXT   NOT NULL,
	n    BIGINT NOT NULL
);
