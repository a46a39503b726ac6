-- Four eyes: sensitive servers and groups of them, and who approved a grant.
-- Authors are who made a grant and extended it; of those that were there before
-- this column whoever created them is known.

ALTER TABLE servers ADD COLUMN sensitive BOOLEAN NOT NULL DEFAULT false;

ALTER TABLE member_groups ADD COLUMN sensitive BOOLEAN NOT NULL DEFAULT false;

ALTER TABLE grants ADD COLUMN approved BIGINT NOT NULL DEFAULT 0;

ALTER TABLE grants ADD COLUMN approved_by TEXT NOT NULL DEFAULT '';

ALTER TABLE grants ADD COLUMN authors TEXT NOT NULL DEFAULT '';

UPDATE grants SET authors = created_by;
