-- Stored passwords that serve somebody who has proven nothing but their address.

ALTER TABLE credentials ADD COLUMN unproven BOOLEAN NOT NULL DEFAULT false;
