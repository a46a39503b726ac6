-- The audit trail and the entries are append-only. Statement triggers see
-- UPDATE, DELETE and TRUNCATE alike.

CREATE FUNCTION inside_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION '% is append-only', TG_TABLE_NAME;
END $$;

CREATE TRIGGER audit_keeps BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
FOR EACH STATEMENT EXECUTE FUNCTION inside_refuse_change();

CREATE TRIGGER entries_keeps BEFORE UPDATE OR DELETE OR TRUNCATE ON entries
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
