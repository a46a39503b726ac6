-- The rest of what a grant takes: see the columns of grants with these names.
-- renew is 0 or the length.

ALTER TABLE templates ADD COLUMN max_entries BIGINT NOT NULL DEFAULT 0;

ALTER TABLE templates ADD COLUMN entries_per BIGINT NOT NULL DEFAULT 0;

ALTER TABLE templates ADD COLUMN renew BIGINT NOT NULL DEFAULT 0;
