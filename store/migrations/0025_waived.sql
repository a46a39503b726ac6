-- Networks that only warn: who would have been denied is carried, and the
-- denial that was waived is kept with the entry and the session.
--
-- Such a session may be of a person or a server that nobody knows, and rests on
-- no stay and no grant. Its references go to the rows that stand for none here,
-- with the ids that mean none everywhere: '' and 0. They are no facts, and
-- every list leaves them out.

ALTER TABLE sessions ADD COLUMN waived TEXT NOT NULL DEFAULT '';

ALTER TABLE entries ADD COLUMN waived TEXT NOT NULL DEFAULT '';

CREATE INDEX waived_entries ON entries (id) WHERE waived <> '';

INSERT INTO persons (id, name, full_name, email, disabled) VALUES ('', '', '', '', true);

INSERT INTO servers (id, name, prefix, ssh_port, rdp_port, disabled) VALUES ('', '', '', 0, 0, true);

INSERT INTO grants (id, person, person_group, server, server_group, protocols, logins, source, forwarding, starts, ends, schedules, reason, revoked, created, created_by)
	VALUES (0, '', '', '', '', '', '', '', 0, 0, 1, '', '', 1, 0, '');

INSERT INTO stays (id, person, grant_id, started, ended, cause) VALUES (0, '', 0, 0, 1, '');
