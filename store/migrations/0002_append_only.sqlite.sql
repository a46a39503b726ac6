-- The audit trail and the entries are append-only. REPLACE would delete a row
-- without firing the delete triggers (recursive_triggers is off by default),
-- so an insert over an existing id is refused too.

CREATE TRIGGER audit_keeps_update BEFORE UPDATE ON audit
BEGIN
	SELECT RAISE(ABORT, 'audit is append-only');
END;

CREATE TRIGGER audit_keeps_delete BEFORE DELETE ON audit
BEGIN
	SELECT RAISE(ABORT, 'audit is append-only');
END;

CREATE TRIGGER audit_keeps_replace BEFORE INSERT ON audit
WHEN EXISTS (SELECT 1 FROM audit WHERE id = NEW.id)
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
WHEN EXISTS (SELECT 1 FROM entries WHERE id = NEW.id)
BEGIN
	SELECT RAISE(ABORT, 'entries is append-only');
END;
