-- What the gate logs in with in people's names, and by what it knows them.
-- An empty server, login or dest is any. Secrets lie sealed; the key that opens them
-- is not in the database.

INSERT INTO counters (name, n) VALUES
	('credential', 0), ('person_key', 0), ('user_ca', 0), ('certificate', 0);

CREATE TABLE person_keys (
	id         BIGINT NOT NULL PRIMARY KEY,
	person     TEXT   NOT NULL REFERENCES persons (id),
	server     TEXT   NOT NULL,
	login      TEXT   NOT NULL,
	dest       TEXT   NOT NULL,
	public_key TEXT   NOT NULL,
	label      TEXT   NOT NULL,
	added      BIGINT NOT NULL,
	added_by   TEXT   NOT NULL,
	UNIQUE (public_key, person, server, login, dest)
);

CREATE INDEX person_keys_of_person ON person_keys (person);

CREATE TABLE credentials (
	id         BIGINT NOT NULL PRIMARY KEY,
	person     TEXT   NOT NULL REFERENCES persons (id),
	server     TEXT   NOT NULL,
	login      TEXT   NOT NULL,
	kind       TEXT   NOT NULL,
	public_key TEXT   NOT NULL,
	sealed     TEXT   NOT NULL,
	created    BIGINT NOT NULL,
	created_by TEXT   NOT NULL,
	UNIQUE (person, server, login, kind)
);

-- What the gate may do at a server beyond passing logins on.
CREATE TABLE server_logins (
	server    TEXT    NOT NULL PRIMARY KEY REFERENCES servers (id),
	enrolling BOOLEAN NOT NULL,
	user_ca   BOOLEAN NOT NULL
);

-- Accounts whose authorized_keys hold a gate's key for a person, or should:
-- state says how far that went. The line there names the gate's address.
CREATE TABLE enrolments (
	gate       TEXT   NOT NULL,
	person     TEXT   NOT NULL REFERENCES persons (id),
	dest       TEXT   NOT NULL,
	login      TEXT   NOT NULL,
	server     TEXT   NOT NULL REFERENCES servers (id),
	credential BIGINT NOT NULL,
	state      TEXT   NOT NULL,
	detail     TEXT   NOT NULL,
	since      BIGINT NOT NULL,
	told       BOOLEAN NOT NULL,
	PRIMARY KEY (gate, person, dest, login)
);

CREATE TABLE user_cas (
	id         BIGINT NOT NULL PRIMARY KEY,
	public_key TEXT   NOT NULL,
	sealed     TEXT   NOT NULL,
	created    BIGINT NOT NULL,
	created_by TEXT   NOT NULL
);
