-- What was learned from aside about observed networks: who talks to which
-- server, and the host keys that servers show. It is no record of anything:
-- rows change, and those not seen for long are removed.

CREATE TABLE observed (
	client         TEXT   NOT NULL,
	server         TEXT   NOT NULL,
	protocol       TEXT   NOT NULL,
	client_version TEXT   NOT NULL,
	server_version TEXT   NOT NULL,
	login          TEXT   NOT NULL,
	first_seen     BIGINT NOT NULL,
	last_seen      BIGINT NOT NULL,
	times          BIGINT NOT NULL,
	PRIMARY KEY (client, server, protocol)
);

CREATE TABLE observed_keys (
	server     TEXT   NOT NULL,
	key_type   TEXT   NOT NULL,
	public_key TEXT   NOT NULL,
	first_seen BIGINT NOT NULL,
	last_seen  BIGINT NOT NULL,
	PRIMARY KEY (server, key_type, public_key)
);
