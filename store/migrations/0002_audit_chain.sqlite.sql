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

-- The audit trail, the entries and the signed heads are append-only. REPLACE
-- would delete a row without firing the delete triggers (recursive_triggers is
-- off by default), so an insert over an existing row is refused too.

CREATE TRIGGER audit_keeps_update BEFORE UPDATE ON audit
BEGIN
	SELECT RAISE(ABORT, 'audit is append-only');
END;

CREATE TRIGGER audit_keeps_delete BEFORE DELETE ON audit
BEGIN
	SELECT RAISE(ABORT, 'audit is append-only');
END;

CREATE TRIGGER audit_keeps_replace BEFORE INSERT ON audit
WHEN EXISTS (SELECT 1 FROM audit WHERE id = NEW.id OR link = NEW.link)
BEGIN
	SELECT RAISE(ABORT, 'audit is append-only');
END;

CREATE TRIGGER entries_keeps_update BEFORE UPDATE ON entries
BEGIN
	SELECT RAISE(ABORT, 'entries is append-only');
END;

CREATE TRIGGER entries_keeps_delete BEFORE DELETE ON entries
BEGIN
	SELECT RAISE(ABORT, 'entries is append-only');
END;

CREATE TRIGGER entries_keeps_replace BEFORE INSERT ON entries
WHEN EXISTS (SELECT 1 FROM entries WHERE id = NEW.id OR link = NEW.link)
BEGIN
	SELECT RAISE(ABORT, 'entries is append-only');
END;

CREATE TRIGGER heads_keeps_update BEFORE UPDATE ON heads
BEGIN
	SELECT RAISE(ABORT, 'heads is append-only');
END;

CREATE TRIGGER heads_keeps_delete BEFORE DELETE ON heads
BEGIN
	SELECT RAISE(ABORT, 'heads is append-only');
END;

CREATE TRIGGER heads_keeps_replace BEFORE INSERT ON heads
WHEN EXISTS (SELECT 1 FROM heads WHERE link = NEW.link AND gate = NEW.gate)
BEGIN
	SELECT RAISE(ABORT, 'heads is append-only');
END;

CREATE TRIGGER chain_keeps_delete BEFORE DELETE ON chain
BEGIN
	SELECT RAISE(ABORT, 'chain is append-only');
END;

CREATE TRIGGER chain_keeps_replace BEFORE INSERT ON chain
BEGIN
	SELECT RAISE(ABORT, 'chain is append-only');
END;
