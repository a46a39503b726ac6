-- What a search needs: how much a session carried, keys that both engines
-- compare alike whatever the collation, and an order by time for each thing
-- that is asked for. The keys of rows that are there already are made in Go:
-- see fillKeys.
--
-- lasted is the number of binary digits of the seconds a session took, -1
-- while it lasts, so that the few long ones are found without the many.

ALTER TABLE sessions ADD COLUMN login_key TEXT NOT NULL DEFAULT '';

ALTER TABLE sessions ADD COLUMN client_key TEXT NOT NULL DEFAULT '';

ALTER TABLE sessions ADD COLUMN dest_key TEXT NOT NULL DEFAULT '';

ALTER TABLE sessions ADD COLUMN lasted BIGINT NOT NULL DEFAULT -1;

ALTER TABLE sessions ADD COLUMN bytes_in BIGINT NOT NULL DEFAULT 0;

ALTER TABLE sessions ADD COLUMN bytes_out BIGINT NOT NULL DEFAULT 0;

ALTER TABLE sessions ADD COLUMN recordings BIGINT NOT NULL DEFAULT 0;

ALTER TABLE sessions ADD COLUMN forwarding BOOLEAN NOT NULL DEFAULT false;

ALTER TABLE sessions ADD COLUMN files BOOLEAN NOT NULL DEFAULT false;

CREATE INDEX sessions_of_person ON sessions (person, started, id);

CREATE INDEX sessions_of_person_on_server ON sessions (person, server, started, id);

CREATE INDEX sessions_on_server ON sessions (server, started, id);

CREATE INDEX sessions_by_grant ON sessions (grant_id, started, id);

CREATE INDEX sessions_by_protocol ON sessions (protocol, started, id);

CREATE INDEX sessions_as_login ON sessions (login_key, started, id);

CREATE INDEX sessions_from_client ON sessions (client_key, started, id);

CREATE INDEX sessions_to_dest ON sessions (dest_key, started, id);

CREATE INDEX sessions_by_length ON sessions (lasted, started, id);

CREATE INDEX sessions_with_forwarding ON sessions (started, id) WHERE forwarding = true;

CREATE INDEX sessions_with_files ON sessions (started, id) WHERE files = true;

-- Where a session rested before it moved under another grant.
CREATE TABLE moves (
	session  TEXT   NOT NULL REFERENCES sessions (id),
	stay     BIGINT NOT NULL REFERENCES stays (id),
	grant_id BIGINT NOT NULL REFERENCES grants (id),
	at       BIGINT NOT NULL
);

CREATE INDEX moves_of_session ON moves (session, at);

CREATE INDEX moves_from_stay ON moves (stay, session);

CREATE INDEX moves_from_grant ON moves (grant_id, session);

-- Where a person has been in a stay, each server since its first session.
CREATE TABLE stay_servers (
	stay   BIGINT NOT NULL REFERENCES stays (id),
	server TEXT   NOT NULL REFERENCES servers (id),
	since  BIGINT NOT NULL,
	PRIMARY KEY (stay, server)
);

CREATE INDEX stays_on_server ON stay_servers (server, stay);

INSERT INTO stay_servers (stay, server, since) SELECT stay, server, MIN(started) FROM sessions GROUP BY stay, server;

ALTER TABLE stays ADD COLUMN sessions BIGINT NOT NULL DEFAULT 0;

ALTER TABLE stays ADD COLUMN recordings BIGINT NOT NULL DEFAULT 0;

UPDATE stays SET sessions = (SELECT COUNT(*) FROM sessions WHERE sessions.stay = stays.id);

CREATE INDEX stays_of_person ON stays (person, id);

CREATE INDEX stays_by_grant ON stays (grant_id, id);

CREATE INDEX stays_by_end ON stays (ended);

-- The denied entries as a search finds them. Entries are append-only and stay
-- as they are; this is an index of them, which could be made again.
CREATE TABLE denials (
	id         BIGINT NOT NULL PRIMARY KEY,
	started    BIGINT NOT NULL,
	person     TEXT   NOT NULL,
	server     TEXT   NOT NULL,
	grant_id   BIGINT NOT NULL,
	protocol   TEXT   NOT NULL,
	login_key  TEXT   NOT NULL,
	client_key TEXT   NOT NULL,
	dest_key   TEXT   NOT NULL,
	denial     TEXT   NOT NULL
);

CREATE INDEX denials_newest ON denials (started, id);

CREATE INDEX denials_of_person ON denials (person, started, id);

CREATE INDEX denials_of_person_on_server ON denials (person, server, started, id);

CREATE INDEX denials_on_server ON denials (server, started, id);

CREATE INDEX denials_by_grant ON denials (grant_id, started, id);

CREATE INDEX denials_by_protocol ON denials (protocol, started, id);

CREATE INDEX denials_as_login ON denials (login_key, started, id);

CREATE INDEX denials_from_client ON denials (client_key, started, id);

CREATE INDEX denials_to_dest ON denials (dest_key, started, id);

CREATE INDEX denials_for ON denials (denial, started, id);

-- What was there before gets its keys.
PROGRAM fillKeys;

-- Lists of entries.
CREATE INDEX entries_of_person ON entries (person, id);

CREATE INDEX entries_on_server ON entries (server, id);

CREATE INDEX denied_entries ON entries (id) WHERE denial <> '';
