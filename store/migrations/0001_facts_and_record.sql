-- The facts and the record, for both engines. A statement ends with a
-- semicolon, an end of line and an empty line: migrate.go cuts there, because
-- PostgreSQL's extended protocol takes one statement at a time.
--
-- Times are Unix microseconds made by the program, 0 is none. Numbered ids
-- come from counters, the others are random text. Lists (protocols, logins,
-- schedules) are text with one item a line. Addresses and prefixes are text as
-- net/netip writes them and are compared by the program, not here.

CREATE TABLE counters (
	name TEXT   NOT NULL PRIMARY KEY,
	n    BIGINT NOT NULL
);

INSERT INTO counters (name, n) VALUES
	('revision', 0), ('address', 0), ('grant', 0), ('stay', 0), ('entry', 0), ('audit', 0), ('probe', 0);

CREATE TABLE persons (
	id        TEXT    NOT NULL PRIMARY KEY,
	name      TEXT    NOT NULL UNIQUE,
	full_name TEXT    NOT NULL,
	email     TEXT    NOT NULL,
	disabled  BOOLEAN NOT NULL
);

CREATE TABLE addresses (
	id       BIGINT  NOT NULL PRIMARY KEY,
	person   TEXT    NOT NULL REFERENCES persons (id),
	prefix   TEXT    NOT NULL,
	label    TEXT    NOT NULL,
	disabled BOOLEAN NOT NULL
);

CREATE INDEX addresses_of_person ON addresses (person);

CREATE TABLE servers (
	id       TEXT    NOT NULL PRIMARY KEY,
	name     TEXT    NOT NULL UNIQUE,
	prefix   TEXT    NOT NULL,
	ssh_port BIGINT  NOT NULL,
	rdp_port BIGINT  NOT NULL,
	disabled BOOLEAN NOT NULL
);

CREATE UNIQUE INDEX enabled_servers ON servers (prefix) WHERE disabled = false;

CREATE TABLE member_groups (
	id          TEXT NOT NULL PRIMARY KEY,
	kind        TEXT NOT NULL,
	name        TEXT NOT NULL,
	description TEXT NOT NULL,
	UNIQUE (kind, name)
);

-- One of member (a person or a server) and subgroup is set, the other is ''.
CREATE TABLE members (
	group_id TEXT NOT NULL REFERENCES member_groups (id),
	member   TEXT NOT NULL,
	subgroup TEXT NOT NULL,
	PRIMARY KEY (group_id, member, subgroup)
);

CREATE TABLE grants (
	id           BIGINT NOT NULL PRIMARY KEY,
	person       TEXT   NOT NULL,
	person_group TEXT   NOT NULL,
	server       TEXT   NOT NULL,
	server_group TEXT   NOT NULL,
	protocols    TEXT   NOT NULL,
	logins       TEXT   NOT NULL,
	source       TEXT   NOT NULL,
	forwarding   BIGINT NOT NULL,
	starts       BIGINT NOT NULL,
	ends         BIGINT NOT NULL,
	schedules    TEXT   NOT NULL,
	reason       TEXT   NOT NULL,
	revoked      BIGINT NOT NULL,
	created      BIGINT NOT NULL,
	created_by   TEXT   NOT NULL
);

CREATE TABLE stays (
	id       BIGINT NOT NULL PRIMARY KEY,
	person   TEXT   NOT NULL REFERENCES persons (id),
	grant_id BIGINT NOT NULL REFERENCES grants (id),
	started  BIGINT NOT NULL,
	ended    BIGINT NOT NULL,
	cause    TEXT   NOT NULL
);

-- One open stay per person and grant.
CREATE UNIQUE INDEX open_stays ON stays (person, grant_id) WHERE ended = 0;

-- Who is inside, the newest first, without reading all who ever were.
CREATE INDEX open_stays_newest ON stays (id) WHERE ended = 0;

CREATE TABLE sessions (
	id       TEXT   NOT NULL PRIMARY KEY,
	head     TEXT   NOT NULL,
	stay     BIGINT NOT NULL REFERENCES stays (id),
	person   TEXT   NOT NULL REFERENCES persons (id),
	server   TEXT   NOT NULL REFERENCES servers (id),
	grant_id BIGINT NOT NULL REFERENCES grants (id),
	protocol TEXT   NOT NULL,
	login    TEXT   NOT NULL,
	client   TEXT   NOT NULL,
	dest     TEXT   NOT NULL,
	gate     TEXT   NOT NULL,
	started  BIGINT NOT NULL,
	ended    BIGINT NOT NULL,
	cause    TEXT   NOT NULL
);

CREATE INDEX sessions_newest ON sessions (started, id);

CREATE INDEX sessions_of_stay ON sessions (stay, started, id);

CREATE INDEX open_sessions_newest ON sessions (started, id) WHERE ended = 0;

-- head is the first four characters of the id. A range over the id itself
-- would depend on the collation of the database.
CREATE INDEX sessions_by_head ON sessions (head);

CREATE TABLE entries (
	id       BIGINT NOT NULL PRIMARY KEY,
	at       BIGINT NOT NULL,
	gate     TEXT   NOT NULL,
	client   TEXT   NOT NULL,
	dest     TEXT   NOT NULL,
	protocol TEXT   NOT NULL,
	login    TEXT   NOT NULL,
	person   TEXT   NOT NULL,
	server   TEXT   NOT NULL,
	grant_id BIGINT NOT NULL,
	denial   TEXT   NOT NULL,
	detail   TEXT   NOT NULL,
	session  TEXT   NOT NULL
);

CREATE TABLE host_keys (
	addr       TEXT   NOT NULL,
	key_type   TEXT   NOT NULL,
	public_key TEXT   NOT NULL,
	pinned     BIGINT NOT NULL,
	pinned_by  TEXT   NOT NULL,
	PRIMARY KEY (addr, key_type)
);

CREATE TABLE audit (
	id     BIGINT NOT NULL PRIMARY KEY,
	at     BIGINT NOT NULL,
	actor  TEXT   NOT NULL,
	action TEXT   NOT NULL,
	object TEXT   NOT NULL,
	detail TEXT   NOT NULL
);
