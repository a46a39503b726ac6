-- Tokens of the API: the hash (SHA-256, base64), never the token. A name is
-- given once, because the audit trail calls who held the token by it.

INSERT INTO counters (name, n) VALUES ('token', 0);

CREATE TABLE tokens (
	id         BIGINT NOT NULL PRIMARY KEY,
	name       TEXT   NOT NULL UNIQUE,
	role       TEXT   NOT NULL,
	hash       TEXT   NOT NULL UNIQUE,
	created    BIGINT NOT NULL,
	created_by TEXT   NOT NULL,
	expires    BIGINT NOT NULL,
	revoked    BIGINT NOT NULL,
	used       BIGINT NOT NULL
);
