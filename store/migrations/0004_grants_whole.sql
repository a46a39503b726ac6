-- Idle timeout and number of sessions of a grant, maintenance of a server, and
-- which revision of the facts changed a thing last, for two things: a change
-- that somebody bases on an older state is refused, and a gate that knows the
-- facts of one revision reads only what changed since.

ALTER TABLE grants ADD COLUMN idle BIGINT NOT NULL DEFAULT 0;

ALTER TABLE grants ADD COLUMN max_sessions BIGINT NOT NULL DEFAULT 0;

ALTER TABLE servers ADD COLUMN kept_from BIGINT NOT NULL DEFAULT 0;

ALTER TABLE servers ADD COLUMN kept_clear BIGINT NOT NULL DEFAULT 0;

ALTER TABLE servers ADD COLUMN kept_until BIGINT NOT NULL DEFAULT 0;

ALTER TABLE servers ADD COLUMN kept_exempt TEXT NOT NULL DEFAULT '';

ALTER TABLE servers ADD COLUMN kept_reason TEXT NOT NULL DEFAULT '';

-- What was there before this column counts as old as can be: 1 is the first
-- revision there is.
ALTER TABLE persons ADD COLUMN version BIGINT NOT NULL DEFAULT 1;

ALTER TABLE persons ADD COLUMN changed BIGINT NOT NULL DEFAULT 0;

ALTER TABLE persons ADD COLUMN changed_by TEXT NOT NULL DEFAULT '';

ALTER TABLE servers ADD COLUMN version BIGINT NOT NULL DEFAULT 1;

ALTER TABLE servers ADD COLUMN changed BIGINT NOT NULL DEFAULT 0;

ALTER TABLE servers ADD COLUMN changed_by TEXT NOT NULL DEFAULT '';

ALTER TABLE grants ADD COLUMN version BIGINT NOT NULL DEFAULT 1;

ALTER TABLE grants ADD COLUMN changed BIGINT NOT NULL DEFAULT 0;

ALTER TABLE grants ADD COLUMN changed_by TEXT NOT NULL DEFAULT '';

ALTER TABLE member_groups ADD COLUMN version BIGINT NOT NULL DEFAULT 1;

ALTER TABLE member_groups ADD COLUMN changed BIGINT NOT NULL DEFAULT 0;

ALTER TABLE member_groups ADD COLUMN changed_by TEXT NOT NULL DEFAULT '';

CREATE INDEX persons_by_version ON persons (version);

CREATE INDEX servers_by_version ON servers (version);

CREATE INDEX grants_by_version ON grants (version);

CREATE INDEX member_groups_by_version ON member_groups (version);

-- How many sessions of a grant a person has open is counted at each entry.
CREATE INDEX open_sessions_of_grant ON sessions (grant_id, person) WHERE ended = 0;
