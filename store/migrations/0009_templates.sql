-- Templates of grants: what a grant made by one takes where it is not given
-- otherwise. length is in microseconds, 0 for none; the lists lie as in grants.

CREATE TABLE templates (
	name         TEXT    NOT NULL PRIMARY KEY,
	protocols    TEXT    NOT NULL,
	logins       TEXT    NOT NULL,
	forwarding   BIGINT  NOT NULL,
	length       BIGINT  NOT NULL,
	permanent    BOOLEAN NOT NULL,
	schedules    TEXT    NOT NULL,
	idle         BIGINT  NOT NULL,
	max_sessions BIGINT  NOT NULL,
	reason       TEXT    NOT NULL,
	created      BIGINT  NOT NULL,
	created_by   TEXT    NOT NULL
);
