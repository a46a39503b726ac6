-- Admins who sign in on the pages. Their passwords are kept as argon2id has
-- them (RFC 9106, in the text form of the PHC), with who set them last. A name
-- is given once, because the audit trail calls who did something by it: whoever
-- is removed stays in the table.

INSERT INTO counters (name, n) VALUES ('admin', 0);

CREATE TABLE admins (
	id          BIGINT  NOT NULL PRIMARY KEY,
	name        TEXT    NOT NULL UNIQUE,
	role        TEXT    NOT NULL,
	password    TEXT    NOT NULL,
	password_by TEXT    NOT NULL,
	disabled    BOOLEAN NOT NULL,
	created     BIGINT  NOT NULL,
	created_by  TEXT    NOT NULL,
	removed     BIGINT  NOT NULL,
	used        BIGINT  NOT NULL
);

-- Who is signed in. The secret is in the admin's browser, its hash (SHA-256,
-- base64) here.
CREATE TABLE signins (
	hash   TEXT   NOT NULL PRIMARY KEY,
	admin  BIGINT NOT NULL REFERENCES admins (id),
	client TEXT   NOT NULL,
	began  BIGINT NOT NULL,
	seen   BIGINT NOT NULL,
	ends   BIGINT NOT NULL
);

CREATE INDEX signins_of ON signins (admin);
