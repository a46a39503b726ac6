-- Grants that renew themselves: by how much, and when that was done last.

ALTER TABLE grants ADD COLUMN renew BIGINT NOT NULL DEFAULT 0;

ALTER TABLE grants ADD COLUMN renewed BIGINT NOT NULL DEFAULT 0;
