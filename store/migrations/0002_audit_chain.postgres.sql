-- One chain holds the audit trail and the entries: link is a row's place in it,
-- hash a SHA-256 over the hash of the link before and all fields of the row
-- (chain.go). was and became are a thing before and after a change, as JSON.

CREATE TABLE chain (
	id      BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
	link    BIGINT NOT NULL,
	audits  BIGINT NOT NULL,
	entries BIGINT NOT NULL,
	hash    TEXT   NOT NULL
);

INSERT INTO chain (id, link, audits, entries, hash) VALUES (1, 0, 0, 0, '');

DELETE FROM counters WHERE name IN ('audit', 'entry');

ALTER TABLE audit ADD COLUMN was TEXT NOT NULL DEFAULT '';

ALTER TABLE audit ADD COLUMN became TEXT NOT NULL DEFAULT '';

ALTER TABLE audit ADD COLUMN link BIGINT NOT NULL DEFAULT 0;

ALTER TABLE audit ADD COLUMN hash TEXT NOT NULL DEFAULT '';

ALTER TABLE entries ADD COLUMN link BIGINT NOT NULL DEFAULT 0;

ALTER TABLE entries ADD COLUMN hash TEXT NOT NULL DEFAULT '';

-- Rows that were written before there was a chain are put into it.
PROGRAM chainRows;

CREATE UNIQUE INDEX audit_links ON audit (link);

CREATE UNIQUE INDEX entries_links ON entries (link);

-- What happened to one thing, what one admin did, what was done.
CREATE INDEX audit_of_object ON audit (object, id);

CREATE INDEX audit_of_actor ON audit (actor, id);

CREATE INDEX audit_of_action ON audit (action, id);

-- The head of the chain, signed by a gate's key. Append-only as well.
CREATE TABLE heads (
	link      BIGINT NOT NULL,
	gate      TEXT   NOT NULL,
	at        BIGINT NOT NULL,
	hash      TEXT   NOT NULL,
	signer    TEXT   NOT NULL,
	signature TEXT   NOT NULL,
	PRIMARY KEY (link, gate)
);

-- Whether the recordings of a session that has ended are sealed into the chain.
ALTER TABLE sessions ADD COLUMN sealed BOOLEAN NOT NULL DEFAULT false;

CREATE INDEX unsealed_sessions ON sessions (gate, started) WHERE sealed = false;

-- The audit trail, the entries and the signed heads are append-only. Statement triggers see
-- UPDATE, DELETE and TRUNCATE alike.

CREATE FUNCTION inside_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION '% is append-only', TG_TABLE_NAME;
END $$;

CREATE TRIGGER audit_keeps BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
FOR EACH STATEMENT EXECUTE FUNCTION inside_refuse_change();

CREATE TRIGGER entries_keeps BEFORE UPDATE OR DELETE OR TRUNCATE ON entries
FOR EACH STATEMENT EXECUTE FUNCTION inside_refuse_change();

CREATE TRIGGER heads_keeps BEFORE UPDATE OR DELETE OR TRUNCATE ON heads
FOR EACH STATEMENT EXECUTE FUNCTION inside_refuse_change();

CREATE TRIGGER chain_keeps BEFORE DELETE OR TRUNCATE ON chain
FOR EACH STATEMENT EXECUTE FUNCTION inside_refuse_change();

-- Every change of the facts bumps the revision; the others hear of it when
-- the transaction commits.
CREATE FUNCTION inside_announce() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_notify('inside_facts', CAST(NEW.n AS TEXT));
	RETURN NULL;
END $$;

CREATE TRIGGER revision_announces AFTER UPDATE ON counters
FOR EACH ROW WHEN (NEW.name = 'revision') EXECUTE FUNCTION inside_announce();
