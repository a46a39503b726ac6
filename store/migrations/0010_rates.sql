-- How often a person may enter under a grant: max_entries times in any period
-- of entries_per microseconds; 0 is any number.

ALTER TABLE grants ADD COLUMN max_entries BIGINT NOT NULL DEFAULT 0;

ALTER TABLE grants ADD COLUMN entries_per BIGINT NOT NULL DEFAULT 0;

-- Which is counted at each entry; and the last of them is when the grant was
-- used last.
CREATE INDEX entries_under_grant ON entries (grant_id, at, person) WHERE denial = '';

-- The one video a gate makes, for who counts those that are to be made.
CREATE INDEX renders_running ON renders (gate) WHERE state = 'running';

-- What a person is called elsewhere.
ALTER TABLE persons ADD COLUMN account TEXT NOT NULL DEFAULT '';
