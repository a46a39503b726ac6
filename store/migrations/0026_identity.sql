-- How a person was known who was not known by an address: the account that the
-- network they came through named, and the node they sat at.

ALTER TABLE sessions ADD COLUMN account TEXT NOT NULL DEFAULT '';

ALTER TABLE sessions ADD COLUMN node TEXT NOT NULL DEFAULT '';

ALTER TABLE entries ADD COLUMN account TEXT NOT NULL DEFAULT '';

ALTER TABLE entries ADD COLUMN node TEXT NOT NULL DEFAULT '';
