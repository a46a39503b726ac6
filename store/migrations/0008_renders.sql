-- Videos that are to be made of recordings, one a session: state is queued,
-- running, done or failed, done_mille how far the last attempt came.

CREATE TABLE renders (
	session    TEXT   NOT NULL PRIMARY KEY REFERENCES sessions (id),
	gate       TEXT   NOT NULL,
	state      TEXT   NOT NULL,
	attempts   BIGINT NOT NULL,
	done_mille BIGINT NOT NULL,
	asked      BIGINT NOT NULL,
	asked_by   TEXT   NOT NULL,
	began      BIGINT NOT NULL,
	ended      BIGINT NOT NULL,
	detail     TEXT   NOT NULL
);

CREATE INDEX renders_waiting ON renders (gate, asked, session) WHERE state = 'queued';
